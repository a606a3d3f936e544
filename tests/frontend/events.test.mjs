/** The parser of text/event-stream, at every place where a network may cut it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventParser } from '../../service/frontend/client/events.js';

const bytes = (text) => new TextEncoder().encode(text);

function parse(...chunks) {
  const parser = new EventParser();
  const events = chunks.flatMap((chunk) => parser.feed(chunk));
  return { events, retryMs: parser.retryMs };
}

const message = (data, id = '') => ({ type: 'message', data, id });

const TABLE = {
  'one event': ['id: 3\ndata: x\n\n', [message('x', '3')]],
  'several lines of data': ['data: a\ndata: b\ndata:\n\n', [message('a\nb\n')]],
  'CRLF, CR and LF mixed': [
    'data: a\r\n\r\ndata: b\r\rdata: c\n\n',
    ['a', 'b', 'c'].map((data) => message(data)),
  ],
  'a comment is nothing': [': still here\n\n:\n\ndata: x\n: y\n\n', [message('x')]],
  'only one space is left out': ['data:  x\n\ndata:y\n\n', [message(' x'), message('y')]],
  'an id stays until another': [
    'id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n',
    [message('a', '1'), message('b', '1'), message('c', '')],
  ],
  'an id with NUL is none': ['id: 1\nid: a\0b\ndata: x\n\n', [message('x', '1')]],
  'a type is for one event': [
    'event: bye\ndata: a\n\ndata: b\n\n',
    [{ type: 'bye', data: 'a', id: '' }, message('b')],
  ],
  'without data there is no event': ['event: x\nid: 7\n\ndata: b\n\n', [message('b', '7')]],
  'fields that nobody knows': ['foo: 1\nbar\ndata: x\n\n', [message('x')]],
  'a byte order mark is skipped': ['\uFEFFdata: x\n\n', [message('x')]],
  'characters of two, three and four bytes': ['data: ä€𝄞\n\n', [message('ä€𝄞')]],
  'the end cuts an event off': ['data: a\n\ndata: b\n', [message('a')]],
};

for (const [name, [text, expected]] of Object.entries(TABLE)) {
  test(`${name}, cut anywhere`, () => {
    const whole = bytes(text);
    assert.deepEqual(parse(whole).events, expected);
    for (let cut = 0; cut <= whole.length; cut += 1) {
      const { events } = parse(whole.subarray(0, cut), whole.subarray(cut));
      assert.deepEqual(events, expected, `cut at ${cut}`);
    }
    const single = Array.from(whole, (_, at) => whole.subarray(at, at + 1));
    assert.deepEqual(parse(...single).events, expected);
  });
}

test('retry counts only where it is a number', () => {
  assert.equal(parse(bytes('retry: 2000\n\nretry: soon\nretry: -1\n\n')).retryMs, 2000);
  assert.equal(parse(bytes('data: x\n\n')).retryMs, null);
});

test('an event without an end is refused before it fills the memory', () => {
  const parser = new EventParser();
  const much = bytes('x'.repeat(100_000));
  parser.feed(bytes('data: '));
  assert.throws(() => Array.from({ length: 20 }, () => parser.feed(much)), RangeError);
  const lines = bytes(`data: ${'x'.repeat(1000)}\n`.repeat(100));
  const other = new EventParser();
  assert.throws(() => Array.from({ length: 20 }, () => other.feed(lines)), RangeError);
});

test('a random stream means the same however it is cut', () => {
  const random = randomNumbers(20_261);
  for (let round = 0; round < 200; round += 1) {
    const whole = bytes(randomStream(random));
    assert.deepEqual(parse(...randomCuts(whole, random)), parse(whole), `round ${round}`);
  }
});

const PIECES = ['\n', '\n', '\r', '\r\n', '\r\n\r\n', 'data: a', 'data:é', 'data', 'id: 5', 'id:'];
PIECES.push(': c', 'event: e', 'retry: 10', '€', '𝄞', ' ', ':', '\0', '\uFEFF');

function randomStream(random) {
  return Array.from({ length: 40 }, () => PIECES[random() % PIECES.length]).join('');
}

function randomCuts(whole, random) {
  const chunks = [];
  for (let at = 0; at < whole.length; ) {
    const size = random() % 7; // 0 is an empty chunk
    chunks.push(whole.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

/** The same numbers in each run. */
function randomNumbers(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 8;
  };
}
