// Everything that the page says, in one place. {name} is replaced; one/other is chosen by the number n.
const words = {
  brand: "recon3d",
  skip: "Skip to the content",
  projects: "Projects",
  account: "Account",
  signOut: "Sign out",
  close: "Close",
  cancel: "Cancel",
  again: "Try again",
  undo: "Undo",
  copy: "Copy",
  copied: "Copied.",
  copyByHand: "Select the text and copy it.",
  fieldError: "{field}: {text}",
  field_username: "Username",
  field_email: "E-mail address",
  field_password: "Password",
  field_old_password: "Current password",
  field_new_password: "New password",
  field_invitation: "Invitation code",
  field_name: "Name",
  noAnswer: "The service does not answer. Check your connection and try again.",
  notHere: "There is no such page.",
  projectGone: "This project was deleted.",
  toProjects: "All projects",
  details: "Details",

  signIn: "Sign in",
  signInLead: "Make 3D models from a video or photos.",
  username: "Username",
  usernameOrEmail: "Username or e-mail address",
  usernameHint: "3 to 50 letters, digits, and _ . -",
  email: "E-mail address",
  password: "Password",
  passwordHint: "At least 8 characters. Common passwords are refused.",
  keep: "Keep me signed in on this device",
  keepHint: "Leave this off on a shared device. You are then signed out when you close the tab.",
  signUp: "Create an account",
  signUpLead: "An account keeps your projects together.",
  haveAccount: "I have an account",
  noAccount: "Create an account",
  invitation: "Invitation code",
  invitationHint: "This service creates accounts by invitation.",
  registrationClosed: "This service does not create accounts here. Ask its operator for one.",
  forgot: "Forgot your password?",
  forgotTitle: "Reset your password",
  forgotLead: "You get a mail with a link. The link works once, for an hour.",
  forgotNoMail: "This service sends no mail. Ask its operator for a link to reset the password.",
  sendLink: "Send the link",
  expired: "You were signed out. Sign in again to continue.",
  signedOut: "You are signed out.",

  newProject: "New project",
  name: "Name",
  namePlaceholder: "For example: Bust of a philosopher",
  create: "Create",
  search: "Search projects",
  noProjects: "You have no projects yet. Give the first one a name, then add a video or photos.",
  noMatch: "No project has “{text}” in its name.",
  noPicture: "No picture yet",
  moreProjects: "Show more",
  status_draft: "Not started",
  status_processing: "In progress",
  status_completed: "Finished",
  status_failed: "Stopped with a problem",
  status_archived: "Archived",
  changed: "Changed {date}",
  projectCount: { one: "{n} project", other: "{n} projects" },

  rename: "Rename",
  save: "Save",
  deleteProject: "Delete project",
  deleting: "“{name}” will be deleted in a few seconds.",
  deleted: "“{name}” is deleted.",
  kept: "“{name}” is kept.",

  addFiles: "Add a video or photos",
  drop: "Drop files or a folder here, or",
  choose: "Choose files",
  takeHint: "Walk slowly around the object. Keep it in the picture, keep the camera moving, and avoid blur.",
  formats: "{formats}, up to {size} each.",
  files: "Your files",
  removeFile: "Remove {name}",
  videoFile: "Video",
  uploads: "Uploads",
  uploaded: { one: "{done} of {n} file added", other: "{done} of {n} files added" },
  up_waiting: "Waiting",
  up_sending: "{percent} %",
  up_paused: "Paused at {percent} %",
  up_offline: "The connection is lost. The upload resumes by itself.",
  up_checking: "The service checks the file …",
  up_stored: "Added",
  up_later: "Complete. The service adds it after the run.",
  up_refused: "Not added: {reason}",
  up_renamed: {
    one: "There was another “{name}” already. This one is kept as “{kept}”.",
    other: "{n} files have names that were taken. They are kept under new names, such as “{kept}”.",
  },
  up_same: {
    one: "“{name}” is here already. It is not added twice.",
    other: "{n} files are here already. They are not added twice.",
  },
  pause: "Pause",
  resume: "Resume",
  pauseFile: "Pause {name}",
  resumeFile: "Resume {name}",
  cancelFile: "Cancel {name}",
  unfinished: "“{name}” is {percent} % uploaded. Choose the same file again to resume.",
  unfinishedElsewhere: "“{name}” is {percent} % uploaded from another browser or program. Resume it there, or cancel it.",

  checkTitle: "Will it work?",
  checking: "Looking at your files …",
  check_good: "Your files look good.",
  check_doubtful: "It may work, with some doubts.",
  check_hopeless: "This will probably not work.",
  checkFailed: "Your files could not be checked: {reason}",
  whatWasSeen: "What was seen",
  quality: "Quality",
  quality_low: "Quick",
  quality_medium: "Good",
  quality_high: "Fine",
  quality_extreme: "Finest",
  qualityHint_low: "A first look at the shape",
  qualityHint_medium: "The usual choice",
  qualityHint_high: "More detail, takes longer",
  qualityHint_extreme: "All the detail there is, takes very long",
  estimate: "{time}, {frames} pictures",
  resources: "up to {memory} of memory and {disk} of disk",
  speedFrom: "Times come from {source}.",
  start: "Make the model",
  continueRun: "Resume",
  startAnyway: "Try anyway",
  acceptPartial: "Continue with what was found",
  remake: "Make the model again",

  running: "Making the model",
  waiting: "Waiting for its turn",
  queue: { one: "It is the next one.", other: "It is number {n} in the queue." },
  timeLeft: "{time} left",
  noTimeYet: "The time left is not known yet.",
  cancelRun: "Cancel",
  cancelling: "Cancelling …",
  cancelled: "The run was cancelled. What was finished is kept. “Resume” continues from there.",
  failed: "It did not work",
  liveLost: "The live connection is lost. Trying again …",
  stages: "Steps",
  stage_frame_extraction: "Choosing the pictures",
  stage_feature_extraction: "Finding details in each picture",
  stage_feature_matching: "Recognizing details across pictures",
  stage_sparse_reconstruction: "Finding the cameras",
  stage_dense_reconstruction: "Measuring the depth",
  stage_mesh_generation: "Building the surface",
  stage_texturing: "Colouring the surface",
  counted: "{done} of {total}",
  countedPictures: "{done} of {total} pictures",
  job_pending: "Not started",
  job_running: "Working",
  job_completed: "Done",
  job_failed: "Failed",
  job_cancelled: "Cancelled",
  pictures: "Chosen pictures: {n}",
  pictureAlt: "Chosen picture {n}",
  depthMaps: "Depth maps: {n}. Red is near, blue is far.",
  depthAlt: "Depth map of {name}",
  frameAlt: "Picture {name}",
  previewAlt: "Picture of what has been made so far",
  filesAlt: "Thumbnail of {name}",
  thumbAlt: "Preview of {name}",

  model: "The model",
  modelFrame: "3D view of {name}. Drag to turn, use the wheel or two fingers to zoom.",
  modelLoading: "Preparing the 3D view …",
  modelFailed: "The 3D view cannot be shown: {reason}",
  verdict_good: "The model is good.",
  verdict_doubtful: "The model has weak spots.",
  verdict_unusable: "The model is not usable as it is.",
  outdatedModel: "This model is from an earlier run, before the last changes.",
  notes: "Notes from the last run",
  made: "Made in {time} from {frames} pictures.",
  logs: "Technical log",

  downloads: "Downloads",
  outdatedFiles: "From an earlier run, before the last changes:",
  download_textured_mesh: "Model with colours (GLB)",
  download_normal_map: "Normal map of the model (PNG)",
  download_mesh: "Surface (PLY)",
  download_point_cloud: "Points (PLY)",
  download_report: "Report (HTML)",
  download_sparse: "Cameras (COLMAP, ZIP)",
  download_frames: "Pictures (ZIP)",

  share: "Share",
  shareLead: "Anyone with the link can see the model, without an account. They cannot see your photos.",
  shareName: "For whom (only you see this)",
  shareDownload: "Allow downloads",
  shareEnds: "Ends",
  ends_never: "Never",
  ends_week: "In a week",
  ends_month: "In a month",
  createLink: "Create a link",
  linkOnce: "Copy the link now. It cannot be shown again.",
  link: "Link",
  open: "Open",
  linkLine: "{name} – {ends}, {views}",
  linkUnnamed: "Link {id}",
  endsOn: "ends {date}",
  endsNever: "does not end",
  endedOn: "ended {date}",
  views: { one: "seen once", other: "seen {n} times" },
  endLink: "End link",
  endNamed: "End {name}",
  linkEnded: "The link is ended.",

  accountOf: "Signed in as {name}, {email}",
  usage: "What you use",
  usage_disk_bytes: "Disk",
  usage_projects: "Projects",
  usage_queued_runs: "Waiting runs",
  usage_uploads: "Uploads at this moment",
  usageOf: "{used} of {limit}",
  mail: "E-mail",
  mailRuns: "Send me an e-mail when a run is completed or has failed",
  noMail: "This service sends no e-mail.",
  saved: "Saved.",
  changePassword: "Change the password",
  changePasswordHint: "This signs you out everywhere and revokes all API keys.",
  oldPassword: "Current password",
  newPassword: "New password",
  change: "Change",
  keys: "API keys",
  keysLead: "Scripts use a key instead of your password.",
  key: "API key",
  keyName: "Name of the key",
  createKey: "Create a key",
  keyOnce: "Copy the key now. It cannot be shown again.",
  keyLine: "{name} ({prefix}…)",
  keyUsed: "last used {date}",
  keyUnused: "never used",
  revoke: "Revoke",
  revokeNamed: "Revoke {name}",
  revoked: "The key is revoked.",
  sessions: "Sessions",
  sessionsLead: "This ends all sessions on all devices. API keys stay valid.",
  signOutEverywhere: "Sign out everywhere",

  seconds: { one: "{n} second", other: "{n} seconds" },
  minutes: { one: "{n} minute", other: "{n} minutes" },
  hours: { one: "{n} hour", other: "{n} hours" },
  about: "about {time}",
  range: "{low} to {high}",
  dismiss: "Remove {name} from this list",
};

const LANGUAGE = "en";
const plural = new Intl.PluralRules(LANGUAGE);
const dates = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "medium", timeStyle: "short" });
const days = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "medium" });

export function t(key, values = {}) {
  let text = words[key];
  if (text === undefined) throw new Error(`no text for ${key}`);
  if (typeof text === "object") text = text[plural.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

export const has = (key) => key in words;

export const moment = (text) => dates.format(new Date(text));

export const day = (text) => days.format(new Date(text));

export function bytes(size) {
  const units = ["kB", "MB", "GB", "TB"];
  let value = Math.max(size, 100) / 1000;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value >= 10 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

const UNITS = [
  [60, 1, "seconds"],
  [5400, 60, "minutes"],
  [Infinity, 3600, "hours"],
];

function split(seconds) {
  const [, length, unit] = UNITS.find(([limit]) => seconds < limit);
  const exact = seconds / length;
  return { n: unit === "hours" ? Math.round(10 * exact) / 10 : Math.max(1, Math.round(exact)), unit };
}

export function duration(seconds) {
  const { n, unit } = split(seconds);
  return t(unit, { n });
}

// `error` is a factor: the true time lies between seconds / error and seconds * error.
export function span(seconds, error) {
  const low = split(seconds / error);
  const high = split(seconds * error);
  const last = t(high.unit, { n: high.n });
  if (low.unit !== high.unit) return t("range", { low: t(low.unit, { n: low.n }), high: last });
  return low.n === high.n ? t("about", { time: last }) : t("range", { low: low.n, high: last });
}
