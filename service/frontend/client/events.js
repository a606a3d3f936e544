/**
 * text/event-stream, as the HTML standard defines it: comments, `retry`, `id`, data over several
 * lines, all three line ends, and chunks cut anywhere, even inside a character or a CRLF.
 *
 * @typedef {{type: string, data: string, id: string}} ServerEvent
 */

// A line or an event this long is none of ours; reading on would only fill the memory.
const EVENT_MAX_CHARS = 1_000_000;

export class EventParser {
  #decoder = new TextDecoder();
  #line = '';
  #afterReturn = false; // the last chunk ended in CR: an LF at the start of the next belongs to it
  #type = '';
  /** @type {string[]} */
  #data = [];
  #dataChars = 0;
  #id = '';
  /** How long the server asks to wait before the next connection. @type {number | null} */
  retryMs = null;

  /**
   * The events that these bytes complete. What is not complete at the end of the stream is none.
   *
   * @param {Uint8Array} bytes
   * @returns {ServerEvent[]}
   */
  feed(bytes) {
    const text = this.#decoder.decode(bytes, { stream: true });
    if (!text) return [];
    const skipped = this.#afterReturn && text.startsWith('\n') ? text.slice(1) : text;
    this.#afterReturn = text.endsWith('\r');
    const lines = skipped.split(/\r\n|\n|\r/);
    lines[0] = this.#line + lines[0];
    this.#line = lines.pop() ?? '';
    const events = lines.map((line) => this.#take(line)).filter((event) => event !== null);
    if (this.#line.length + this.#dataChars > EVENT_MAX_CHARS) {
      throw new RangeError('an event is too long');
    }
    return events;
  }

  /** @param {string} line @returns {ServerEvent | null} */
  #take(line) {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return null; // a comment
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    this.#field(name, value);
    return null;
  }

  /** @param {string} name @param {string} value */
  #field(name, value) {
    switch (name) {
      case 'data':
        this.#data.push(value);
        this.#dataChars += value.length + 1;
        break;
      case 'event':
        this.#type = value;
        break;
      case 'id':
        if (!value.includes('\0')) this.#id = value;
        break;
      case 'retry':
        if (/^\d+$/.test(value)) this.retryMs = Number(value);
        break;
      default: // the standard says to ignore what is not known
    }
  }

  /** @returns {ServerEvent | null} */
  #dispatch() {
    const event = { type: this.#type || 'message', data: this.#data.join('\n'), id: this.#id };
    const empty = this.#data.length === 0;
    this.#type = '';
    this.#data = [];
    this.#dataChars = 0;
    return empty ? null : event;
  }
}
