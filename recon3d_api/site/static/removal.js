// Deletion with time to think: the project leaves the list at once, and is deleted when the time is over.
import { remove } from "./api.js";
import { notice, told } from "./dom.js";
import { t } from "./strings.js";

const SECONDS = 8;
// Projects that wait to be deleted.
export const withdrawn = new Set();

// `changed` is called when the project is back in the list: kept, or impossible to delete.
export function withdraw(project, changed) {
  withdrawn.add(project.id);
  const back = (text) => {
    withdrawn.delete(project.id);
    notice(text, { seconds: 12 });
    changed();
  };
  const timer = setTimeout(async () => {
    try {
      await remove(`projects/${project.id}`);
      notice(t("deleted", { name: project.name }));
    } catch (problem) {
      back(told(problem));
    }
  }, SECONDS * 1000);
  notice(t("deleting", { name: project.name }), {
    action: t("undo"),
    act: () => {
      clearTimeout(timer);
      back(t("kept", { name: project.name }));
    },
    seconds: SECONDS,
  });
}
