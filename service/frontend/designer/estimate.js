/**
 * Progress between two messages of the service, as an estimate: it moves on by the clock, never
 * backwards, and stops short of the end, which only the service can announce.
 */

const MOST = 95; // percent, before the end
const RENDERED = 85; // percent the service reaches when the expected render time is over

const anchors = new Map(); // job id -> the last message, when it came, what was shown since

/** {percent, secondsLeft}: `secondsLeft` is null where nobody can tell any more. */
export function estimate(job, now = performance.now()) {
  if (job.status !== 'pending' && job.status !== 'processing') {
    anchors.delete(job.jobId);
    return { percent: job.status === 'completed' ? 100 : 0, secondsLeft: null };
  }
  const anchor = anchorOf(job, now);
  const passed = (now - anchor.at) / 1000;
  const { etaSeconds: eta, progress } = job;
  const speed = job.status === 'processing' && eta ? Math.max(RENDERED - progress, 0) / eta : 0;
  const moved = progress + speed * Math.min(passed, eta ?? 0);
  anchor.shown = Math.min(Math.max(anchor.shown, moved), MOST);
  const left = eta ? Math.ceil(eta - passed) : 0;
  return { percent: Math.floor(anchor.shown), secondsLeft: left > 0 ? left : null };
}

function anchorOf(job, now) {
  const known = anchors.get(job.jobId);
  const same =
    known && known.progress === job.progress && known.eta === job.etaSeconds &&
    known.version === job.version;
  if (same) return known;
  const anchor = {
    progress: job.progress,
    eta: job.etaSeconds,
    version: job.version,
    at: now,
    shown: known?.shown ?? 0,
  };
  anchors.set(job.jobId, anchor);
  return anchor;
}
