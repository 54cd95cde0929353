"""A small app: give a video or photos, wait, turn the model, save it.

For a notebook's cell, and with Voilà as a page for people who do not program.
"""

from __future__ import annotations

import base64
import html
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from recon3d.errors import EngineUnavailable, InputError, Recon3DError
from recon3d.options import presets
from recon3d.pipeline.background import Background
from recon3d.pipeline.pipeline import Pipeline
from recon3d.pipeline.run import Run
from recon3d.project.browser import projects
from recon3d.project.inputs import PHOTO_SUFFIXES, VIDEO_SUFFIXES
from recon3d.project.project import MARKER, Project
from recon3d.rendering.formatting import byte_text

try:
    import ipywidgets
except ImportError as error:
    raise EngineUnavailable(
        "The app needs ipywidgets, which is not installed.", "pip install 'recon3d[notebook]'"
    ) from error

#: A link carries the file itself, since Jupyter and Voilà serve files under different addresses.
_MAX_LINK = 300_000_000
_PRODUCTS = {
    "textured_mesh": "Model",
    "normal_map": "Normal map",
    "mesh": "Surface",
    "point_cloud": "Points",
}
_INTRODUCTION = (
    "<h2>From pictures to a 3D model</h2>Walk around the thing, slowly, with the camera on it. "
    "Choose the video, or at least a dozen photos, and press <i>Start</i>."
)


class App:
    """The app; the value of a cell shows it.

    Parameters
    ----------
    folder : path-like
        Where the projects go, one folder each; it is made when it is not there. The app lists all
        projects in it: give people who must not see each other's a folder each.
    paths : bool
        Offer a field for paths on the server: large files, and projects elsewhere.
        It reads any video or photo of the server, so strangers must not have it.
    **settings
        Further parameters of `Pipeline`, such as ``texturing={"texture_size": 8192}``.

    Attributes
    ----------
    widget : ipywidgets.VBox
    project : Project or None
        The one that was started last.
    run : Run or None
    """

    def __init__(
        self, folder: str | os.PathLike[str] = "recon3d-app", *, paths: bool = False, **settings: Any
    ) -> None:
        self.folder = Path(folder)
        self.project: Project | None = None
        self.run: Run | None = None
        self._settings = settings
        accepted = ",".join(sorted(VIDEO_SUFFIXES | PHOTO_SUFFIXES))
        self.upload = ipywidgets.FileUpload(
            accept=accepted, multiple=True, description="Choose files", layout={"width": "12em"}
        )
        self.path = ipywidgets.Text(
            placeholder="or the server's path of a video, a folder of photos, or a project to continue",
            layout={"width": "40em", "display": "flex" if paths else "none"},
        )
        self.name = ipywidgets.Text(placeholder="name, or that of the file", description="Name")
        self.quality = ipywidgets.Dropdown(options=list(presets()), value="low", description="Quality")
        self.start_button = ipywidgets.Button(description="Start", button_style="primary", icon="play")
        self.start_button.on_click(self._start)
        self.projects = ipywidgets.Dropdown(description="Projects")
        self.open_button = ipywidgets.Button(description="Open", icon="folder-open", tooltip="Show its model")
        self.open_button.on_click(self._open)
        self._chosen = ipywidgets.HBox([self.projects, self.open_button])
        self.message = ipywidgets.HTML()
        self.progress = ipywidgets.Accordion()
        self.model = ipywidgets.VBox()
        self.downloads = ipywidgets.HBox(layout={"flex_flow": "row wrap"})
        self.upload.observe(self._tell_upload, "value")
        self._paths = paths
        self._unfinished: Project | None = None
        self._follower: Background | None = None
        self.widget = ipywidgets.VBox(
            [
                *(self.model, self.downloads, self.message, self.progress),
                ipywidgets.HTML(_INTRODUCTION),
                ipywidgets.HBox([self.upload, self.path]),
                ipywidgets.HBox(
                    [self.name, self.quality, self.start_button], layout={"flex_flow": "row wrap"}
                ),
                self._chosen,
            ]
        )
        self._list_projects()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the app shows the run's end.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.
        """
        if self._follower is not None:
            self._follower.wait(timeout)

    def _tell_upload(self, change: Any) -> None:
        size = sum(file["size"] for file in change["new"])
        self._say(f"{len(change['new'])} file(s), {byte_text(size)}, ready to start.")

    def _start(self, _: Any) -> None:
        self.start_button.disabled = True
        self.progress.children = self.model.children = self.downloads.children = ()
        try:
            self._say("Reading the files …")
            self.project = self._make_project()
            self.run = Pipeline(self.quality.value, **self._settings).start(self.project)
        except Exception as error:  # people without a console have to see it
            self._fail(error)
            return
        self.path.value = self.name.value = ""
        self._unfinished = None
        from recon3d.notebook.panel import Panel

        self._list_projects(self.project)
        self._say(" ".join(self.project.notes))
        self.progress.children = (Panel(self.run).widget,)
        self.progress.titles = (f"{self.project.name}: how it is made",)
        self.progress.selected_index = 0
        self._follower = Background(partial(self._follow, self.run), "recon3d-app")
        self._follower.start()

    def _make_project(self) -> Project:
        """A project with the files that were given; none is left when they are no good."""
        uploaded: tuple[Mapping[str, Any], ...] = self.upload.value
        given = self.path.value.strip() if self._paths else ""
        if not uploaded and not given and self._unfinished is not None:
            return self._unfinished
        if not uploaded and not given:
            raise InputError("There are no files yet.", "Choose a video or photos first.")
        if uploaded and given:
            raise InputError("There are both chosen files and a path.", "Clear the path, or choose no files.")
        if given and (Path(given).expanduser() / MARKER).is_file():
            return Project.open(given)
        with tempfile.TemporaryDirectory(prefix="recon3d-upload-") as temporary:
            files = []
            for number, file in enumerate(uploaded):
                # Browsers send a bare name; anything else must not leave the folder. Two may be alike.
                target = Path(temporary) / str(number) / Path(file["name"]).name
                target.parent.mkdir()
                target.write_bytes(file["content"])
                files.append(target)
            if given:
                files.append(Path(given).expanduser())
            if not all(file.exists() for file in files):
                raise InputError(f"{given} does not exist on the server.", "Check the path.")
            project = Project.create(self._free_folder(self.name.value.strip() or files[0].stem))
            try:
                project.add(files)
            except BaseException:
                shutil.rmtree(project.path)
                raise
        self.upload.value = ()
        return project

    def _list_projects(self, chosen: Project | None = None) -> None:
        names = projects(self.folder).names if self.folder.is_dir() else []
        wanted = self.projects.value if chosen is None else chosen.name
        self.projects.options = names
        if names:
            self.projects.value = wanted if wanted in names else names[0]
        self._chosen.layout.display = None if names else "none"

    def _open(self, _: Any) -> None:
        """Show a project's model; what has none yet can be continued."""
        self.model.children = self.downloads.children = ()
        self._unfinished = None
        try:
            # One of those in the folder, whatever the browser sends.
            project = projects(self.folder)[str(self.projects.value)]
            if project.results.files():
                self._show(project)
            if project.status not in ("completed", "running"):
                self._unfinished = project
                self._say(f"{project.name} is {project.status}. Start continues it.")
            elif not project.results.files():
                self._say(f"{project.name} has no model yet.")
        except Exception as error:
            self._fail(error)

    def _free_folder(self, stem: str) -> Path:
        name = re.sub(r"[^\w-]+", "-", stem).strip("-") or "project"
        folder, number = self.folder / name, 2
        while folder.exists():
            folder, number = self.folder / f"{name}-{number}", number + 1
        return folder

    def _follow(self, run: Run) -> None:
        try:
            run.wait()
            self._show(run.project)
        except Exception as error:
            self._fail(error)
        self.start_button.disabled = False

    def _show(self, project: Project) -> None:
        from recon3d.notebook.viewer import Viewer

        self.model.children = (Viewer(project).widget,)
        files = project.results.files()
        offered = {name: files[name] for name in _PRODUCTS if name in files}
        self.downloads.children = tuple(_Download(name, path).widget for name, path in offered.items())
        self.progress.selected_index = None
        self._say(f"Done. The project is in {project.path}.")

    def _fail(self, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, Recon3DError):
            text = f"{error.message} {error.hint}"
        self._say(text, "#b00020")
        self.start_button.disabled = False

    def _say(self, text: str, color: str = "inherit") -> None:
        self.message.value = f'<span style="color:{color}">{html.escape(text)}</span>'

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        return f"<App: projects go to {self.folder}>"


class _Download:
    """A button that turns into a link when it is pressed: the file goes to the browser only then."""

    def __init__(self, name: str, path: Path) -> None:
        self._path = path
        size = byte_text(path.stat().st_size)
        label = f"{_PRODUCTS[name]} ({path.suffix[1:].upper()}, {size})"
        self._button = ipywidgets.Button(
            description=label, icon="download", layout={"width": "auto"}, tooltip=str(path)
        )
        self._button.on_click(self._give)
        self.widget = ipywidgets.HBox([self._button])

    def _give(self, _: Any) -> None:
        name = html.escape(self._path.name)
        if self._path.stat().st_size > _MAX_LINK:
            link = f"Too large for a link; it is {html.escape(str(self._path))}"
        else:
            data = base64.b64encode(self._path.read_bytes()).decode("ascii")
            kind = "model/gltf-binary" if self._path.suffix == ".glb" else "application/octet-stream"
            style = "text-decoration:underline;color:#1976d2"
            link = f'<a download="{name}" style="{style}" href="data:{kind};base64,{data}">Save {name}</a>'
        self.widget.children = (ipywidgets.HTML(link),)
