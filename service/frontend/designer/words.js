/** What the page says: facts of the service in a person's words. */

const TOO_MANY_SECONDS = 90; // from here on minutes are easier to grasp

export function credits(count) {
  return count === 1 ? '1 credit' : `${count} credits`;
}

/** A job that was found by its address alone may not name its price. */
export function priceWords(job) {
  return job.price ? credits(job.price) : 'its price';
}

export function seconds(count) {
  return count === 1 ? '1 second' : `${count} seconds`;
}

/** NIGHT_SKY -> "Night sky". */
export function variableTitle(name) {
  const words = name.toLowerCase().replaceAll('_', ' ');
  return words[0].toUpperCase() + words.slice(1);
}

export function jobTitle(job, templates) {
  const template = templates?.find((each) => each.slug === job.templateSlug);
  return template?.title ?? job.templateSlug ?? 'Video';
}

export function jobAbout(job, templates) {
  const provider = templates
    ?.flatMap((each) => each.providers)
    .find((each) => each.name === job.provider);
  const duration = job.durationSeconds ? `${job.durationSeconds} s` : null;
  return [provider?.title ?? job.provider, duration].filter(Boolean).join(', ');
}

export function moment(instant) {
  return new Date(instant).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' });
}

/** How far a running job is, and how long it may still take; honest once the estimate is over. */
export function progressWords(job, { percent, secondsLeft }) {
  if (job.previewUrl) return 'Rendered, being saved';
  if (job.status === 'pending') {
    const waiting = 'Waiting for the provider';
    return secondsLeft ? `${waiting}, ${left(secondsLeft)}` : waiting;
  }
  if (secondsLeft) return `${percent} %, ${left(secondsLeft)}`;
  return `${percent} %, taking longer than usual, still rendering`;
}

/** The same where there is room to say what the estimate rests on. */
export function fullProgressWords(job, now) {
  const words = progressWords(job, now);
  return now.secondsLeft ? `${words}, by what this provider usually takes` : words;
}

function left(count) {
  const time = count > TOO_MANY_SECONDS ? `${Math.round(count / 60)} min` : `${rounded(count)} s`;
  return `about ${time} left`;
}

/** No false precision far from the end. */
function rounded(count) {
  return count > 20 ? Math.round(count / 5) * 5 : count;
}

export function cancelWords(job) {
  const cost = job.price ? credits(job.price) : 'credits';
  const held = `The provider was asked to stop. Your ${cost} are held until it answers.`;
  return job.ifFinished === 'discard'
    ? `${held} If it finishes all the same, the video is discarded and you pay nothing.`
    : `${held} If it finishes all the same, you keep the video and pay for it.`;
}

const PROBLEMS = {
  insufficient_credits:
    'You have too few credits for this. Choose fewer seconds or another provider.',
  too_many_in_flight: 'As many of your videos as allowed are in progress. Wait until one is done.',
  too_late: 'The video is made already, so it can no longer be cancelled.',
  still_running: 'This video is still being made. Cancel it first.',
  too_large: 'The image is too large. Save it smaller, or as JPEG.',
  unsupported_media_type: 'This is no PNG, JPEG or WebP. Save the image as one of these.',
};

/** What went wrong with a request, and what helps. */
export function problemWords(error) {
  if (PROBLEMS[error.code]) return PROBLEMS[error.code];
  if (error.code === 'network' || error.code === 'timeout') {
    return 'The service cannot be reached. Check your connection and try again.';
  }
  return error.message;
}
