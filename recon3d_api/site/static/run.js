// What is known of a project's newest run, from the events of the WebSocket.
const OVER = ["completed", "failed", "cancelled"];
const QUIET = ["Done", "Up to date", "Started"];
const VERDICT = /^Verdict: (\w+)\. ?/;
// The library's way to say how to go on is for programs; the page has a button.
const OPTION = / ?[^.;]*start-reconstruction with the body \{"options": .*?\}\}\}[.;]?/g;
const FLAG = /[.;]?[^.;]*start-reconstruction with the body \{"(force|accept_partial)": true\}[^.]*\.?/;

// The page has no field for options of steps.
const forPeople = (text) => text.replace(OPTION, "").trim();

export class Run {
  constructor() {
    this.jobs = [];
    this.lost = false;
    this.error = "";
    this.cancelling = false;
  }

  get active() {
    return this.jobs.some((job) => !OVER.includes(job.status));
  }

  get current() {
    return this.jobs.find((job) => job.status === "running");
  }

  // The job to cancel: with it go the later ones.
  get first() {
    return this.current ?? this.jobs.find((job) => job.status === "pending");
  }

  get outcome() {
    if (!this.jobs.length || this.active) return "";
    if (this.jobs.some((job) => job.status === "failed")) return "failed";
    if (this.jobs.some((job) => job.status === "cancelled")) return "cancelled";
    return "completed";
  }

  finished(stage) {
    return this.jobs.some((job) => job.job_type === stage && job.status === "completed");
  }

  begin(jobs) {
    this.jobs = jobs.map((job) => ({
      id: job.id ?? job.job_id,
      job_type: job.job_type,
      status: job.status,
      progress: job.progress,
      message: job.message,
      error: job.error ?? job.error_message,
      pictures: null, // when the newest one was written
    }));
    this.error = "";
    this.cancelling = false;
  }

  // Tells whether the message is about jobs that are known.
  take(message) {
    this.lost = message.event === "lost";
    if (this.lost || message.event === "heartbeat") return true;
    if (message.event === "state") {
      this.begin(message.jobs);
      this.error = message.error ?? "";
      return true;
    }
    const job = this.jobs.find((known) => known.id === message.job_id);
    if (!job) return false;
    Object.assign(job, {
      status: message.status,
      progress: message.progress,
      message: message.message,
      error: message.error,
      pictures: message.pictures ?? job.pictures,
    });
    if (message.event === "job_failed") this.error = message.error ?? "";
    return true;
  }

  // Why it failed, in words for people, and the option that continues nevertheless.
  get failure() {
    const text = this.error || this.jobs.find((job) => job.status === "failed")?.error || "";
    const flag = text.match(FLAG)?.[1] ?? "";
    return { text: forPeople(text.replace(FLAG, ".")), flag };
  }

  get verdict() {
    const told = this.jobs.filter((job) => job.status === "completed" && VERDICT.test(job.message ?? "")).pop();
    if (!told) return null;
    return { level: told.message.match(VERDICT)[1], text: forPeople(told.message.replace(VERDICT, "")) };
  }

  // What steps did differently or left out.
  get notes() {
    return this.jobs
      .filter((job) => job.status === "completed" && job.message)
      .filter((job) => !QUIET.includes(job.message) && !VERDICT.test(job.message))
      .map((job) => forPeople(job.message));
  }
}
