/** What a job is to the page: pure functions over the service's status JSON. */

export const isRunning = (job) => job.status === 'pending' || job.status === 'processing';

/** Once the provider's video is there the job can no longer be given up. */
export const isPlayable = (job) => job.status === 'completed' || Boolean(job.previewUrl);

export const canCancel = (job) => isRunning(job) && !job.previewUrl && !job.ifFinished;

/** Newest first, as the service lists them. */
export function newestFirst(jobs) {
  return [...jobs.values()].sort(
    (a, b) => b.createdAt.localeCompare(a.createdAt) || b.jobId.localeCompare(a.jobId),
  );
}

/**
 * The jobs with what was just learnt about one of them. Answers may overtake each other: an older
 * version than the known one says nothing.
 */
export function learnt(jobs, news) {
  const known = jobs.get(news.jobId);
  if (known && (news.version ?? 0) < (known.version ?? 0)) return jobs;
  return new Map(jobs).set(news.jobId, { ...known, ...news });
}

/** A job as it is between the answer to its order and the first news of it. */
export function justOrdered(receipt, order, now) {
  return {
    jobId: receipt.jobId,
    status: receipt.status,
    progress: 0,
    etaSeconds: null,
    version: 0,
    createdAt: now.toISOString(),
    templateSlug: order.templateSlug,
    provider: order.provider,
    durationSeconds: order.duration,
    price: receipt.credits,
  };
}
