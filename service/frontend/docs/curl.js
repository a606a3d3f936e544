/** An operation as a curl command, with the document's own examples. */

const PLACES = ['query', 'header', 'path'];

export function curlOf(method, path, operation) {
  const shown = (operation.parameters ?? []).filter((each) => each.required || 'example' in each);
  const by = Object.fromEntries(
    PLACES.map((place) => [place, shown.filter((each) => each.in === place)]),
  );
  const filled = by.path.reduce((made, each) => made.replace(`{${each.name}}`, valueOf(each)), path);
  const query = by.query.map((each) => `${each.name}=${encodeURIComponent(valueOf(each))}`).join('&');
  const address = `${window.location.origin}${filled}${query ? `?${query}` : ''}`;
  const lines = [
    `curl ${method === 'get' ? '' : `-X ${method.toUpperCase()} `}${quoted(address)}`,
    ...signIn(operation),
    ...by.header.map((each) => `-H ${quoted(`${each.name}: ${valueOf(each)}`)}`),
    ...bodyLines(operation),
  ];
  return lines.join(' \\\n  ');
}

function signIn({ security }) {
  const schemes = security.flatMap(Object.keys);
  if (schemes.includes('bearer')) return ['-H "Authorization: Bearer $TOKEN"'];
  if (schemes.includes('operator')) return ['-H "Authorization: Bearer $OPS_TOKEN"'];
  if (schemes.includes('monitor')) return ['-H "Authorization: Bearer $METRICS_TOKEN"'];
  return schemes.includes('falSignature') ? ['-H "X-Fal-Webhook-Signature: $SIGNATURE"'] : [];
}

function bodyLines({ requestBody }) {
  const [type, body] = Object.entries(requestBody?.content ?? {})[0] ?? [];
  if (!type) return [];
  if (type !== 'multipart/form-data') {
    return [`--json ${quoted(JSON.stringify(body.example ?? {}))}`];
  }
  return Object.entries(body.schema.properties).map(([name, part]) =>
    part.format === 'binary'
      ? `-F ${name}=@start.png`
      : `-F ${quoted(`${name}=${JSON.stringify(part.examples?.[0] ?? {})}`)}`);
}

function valueOf(parameter) {
  return String(parameter.example ?? parameter.schema.default ?? '…');
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
