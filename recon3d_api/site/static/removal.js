// Deletion with time to think: the project leaves the list at once, and is deleted when the time is over.
import { remove } from "./api.js";
import { notice, told } from "./dom.js";
import { t } from "./strings.js";

const SECONDS = 8;
// Projects that wait to be deleted.
export const withdrawn = new Set();

const ends = new Set();

// The session ends: nothing is deleted any more, least of all for the next user.
export function keepAll() {
  for (const keep of [...ends]) keep();
}

// `changed` is called when the project is back in the list: kept, or impossible to delete.
export function withdraw(project, changed) {
  withdrawn.add(project.id);
  const back = (text) => {
    withdrawn.delete(project.id);
    ends.delete(keep);
    notice(text, { seconds: 12 });
    changed();
  };
  const timer = setTimeout(async () => {
    ends.delete(keep);
    try {
      await remove(`projects/${project.id}`);
      notice(t("deleted", { name: project.name }));
    } catch (problem) {
      // The user has gone: the service tells the next time whether it was still deleted.
      if (problem.name === "AbortError") withdrawn.delete(project.id);
      else back(told(problem));
    }
  }, SECONDS * 1000);
  const close = notice(t("deleting", { name: project.name }), {
    action: t("undo"),
    act: () => {
      clearTimeout(timer);
      back(t("kept", { name: project.name }));
    },
    seconds: SECONDS,
  });
  function keep() {
    clearTimeout(timer);
    close();
    back(t("kept", { name: project.name }));
  }
  ends.add(keep);
}
