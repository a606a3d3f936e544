/** Is a file a start image that the service will take? Judged by its content, not by its name. */

const MIN_SIDE = 16;
const TAKEN = 'PNG, JPEG or WebP';

/**
 * What is wrong with it and how to mend that, or null. Without limits the service alone judges
 * its size.
 *
 * @param {File} file
 * @param {{maxBytes: number, maxPixels: number}} [limits] the service's own
 */
export async function imageProblem(file, limits) {
  if (file.size === 0) return 'This file is empty. Choose another image.';
  const kind = kindOf(new Uint8Array(await file.slice(0, 16).arrayBuffer()));
  if (!kind.taken) return `${kind.says} Save it as ${TAKEN} and choose that.`;
  if (limits && file.size > limits.maxBytes) {
    const allowed = megabytes(limits.maxBytes);
    const has = `This image has ${megabytes(file.size)} MB; ${allowed} MB are allowed.`;
    return `${has} Make it smaller, or save it as JPEG.`;
  }
  return decodeProblem(file, limits?.maxPixels ?? Infinity);
}

/** @param {number} bytes */
export function megabytes(bytes) {
  return Number((bytes / 1024 / 1024).toFixed(1));
}

async function decodeProblem(file, maxPixels) {
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    return 'This image is damaged. Open it in an image program, save it again and choose that.';
  }
  const { width, height } = picture;
  picture.close();
  const size = `This image has ${width} × ${height} pixels.`;
  if (Math.min(width, height) < MIN_SIDE) {
    return `${size} Choose one of at least ${MIN_SIDE} on each side.`;
  }
  if (width * height > maxPixels) {
    return `${size} Scale it down to at most ${Number((maxPixels / 1e6).toFixed(1))} million.`;
  }
  return null;
}

function kindOf(head) {
  const text = String.fromCharCode(...head);
  const heads = ['\x89PNG\r\n\x1a\n', '\xff\xd8\xff'];
  if (heads.some((each) => text.startsWith(each))) return { taken: true };
  if (text.startsWith('RIFF') && text.slice(8, 12) === 'WEBP') return { taken: true };
  if (text.startsWith('GIF8')) return { says: 'This is a GIF.' };
  if (text.slice(4, 8) === 'ftyp') {
    const heic = /heic|heix|mif1|msf1/.test(text);
    return { says: heic ? 'This is a HEIC photo.' : 'This is no still image.' };
  }
  return { says: `This is no ${TAKEN} image.` };
}
