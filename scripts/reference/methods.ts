import { type Method, closeCodes, errorCodes, methods, signals } from '@kith/protocol';
import { type JsonSchema, components, fieldNames, jsonSchema, thingNames } from './schemas.ts';

const access = { public: 'anybody', session: 'who is signed in', operator: 'operators' };

/** Every method, entity, signal and code as one page to read. */
export function methodsPage(): string {
  const all = Object.entries<Method>(methods);
  const lines = [
    '# Methods',
    '',
    'Written by `npm run docs` from `packages/protocol`; a change here would be overwritten. The rules behind these shapes stand in [protocol.md](../protocol.md).',
    '',
    'A method is called with a frame over `/ws`, `{"id":"1","method":"…","params":{…}}`, or with its params as the body of `POST /api/<method>`.',
    'Unknown fields in params are refused. Answers may get further fields one day: ignore what you do not know.',
    '',
    '- **for**: who may call it, before its own rules are asked.',
    '- **sensitive**: only for who signed in or called `auth.confirm` in the last ten minutes; else `confirm_required`.',
    '- **durable**: it changes what is stored and synced, and is answered after that is on disk.',
    '- **bucket**: calls are limited in number by kind; see the limits in protocol.md.',
    '',
    ...table(
      ['method', 'what', 'for', 'durable'],
      all.map(([name, { summary, access: who, durable }]) => [`[${name}](#${anchor(name)})`, summary, access[who], durable ? 'yes' : '']),
    ),
  ];
  for (const [name, { summary, params, result, access: who, durable, sensitive, rate }] of all) {
    lines.push('', `## ${name}`, '', summary, '', `For ${access[who]}${sensitive ? ' · sensitive' : ''}${durable ? ' · durable' : ''} · bucket \`${rate}\``, '');
    lines.push(...paramsTable(jsonSchema(params)), '', `Answers ${words(jsonSchema(result))}.`);
  }
  lines.push('', '## Signals', '', 'Told to those who are there; never stored, may be lost.', '');
  lines.push(
    ...table(
      ['signal', 'data'],
      Object.entries(signals).map(([name, schema]) => [`\`${name}\``, words(jsonSchema(schema))]),
    ),
  );
  lines.push('', '## Things', '', 'What streams carry, and what answers are made of.');
  for (const name of thingNames) {
    const { description, properties, required = [], ...whole } = components[name]!;
    lines.push('', `### ${name}`, '', ...(description ? [description, ''] : []));
    if (!properties) {
      lines.push(`${words(whole)}.`);
      continue;
    }
    lines.push(
      ...table(
        ['field', 'there', 'what'],
        Object.entries(properties).map(([field, schema]) => [`\`${field}\``, required.includes(field) ? 'always' : '', words(schema)]),
      ),
    );
  }
  lines.push('', '## Fields', '', 'Kinds of values that many methods share. Lengths of text are UTF-16 code units.', '');
  lines.push(
    ...table(
      ['name', 'what', 'bounds'],
      fieldNames.map((name) => [`<a id="${anchor(name)}"></a>${name}`, components[name]!.description ?? '', words(components[name]!)]),
    ),
  );
  lines.push('', '## Error codes', '');
  lines.push(
    ...table(
      ['code', 'HTTP', 'again?', 'meaning'],
      Object.entries(errorCodes).map(([code, { status, retryable, message }]) => [`\`${code}\``, String(status), retryable ? 'may succeed later' : '', message]),
    ),
  );
  lines.push('', '## Close codes', '');
  lines.push(
    ...table(
      ['code', 'connect again', 'meaning'],
      Object.values(closeCodes).map(({ code, reconnect, meaning }) => [String(code), reconnect ? 'yes' : 'no', meaning]),
    ),
  );
  return `${lines.join('\n')}\n`;
}

function paramsTable({ properties = {}, required = [] }: JsonSchema): string[] {
  const rows = Object.entries(properties).map(([name, schema]) => [`\`${name}\``, required.includes(name) ? 'yes' : '', words(schema)]);
  return rows.length === 0 ? ['No params.'] : table(['param', 'needed', 'what'], rows);
}

/** A schema as a person would say it. */
function words(schema: JsonSchema): string {
  const { $ref, type, const: constant, enum: choices, anyOf, oneOf, items, properties, additionalProperties, pattern } = schema;
  if ($ref) return link($ref.replace('#/components/schemas/', ''));
  if (constant !== undefined) return `\`${JSON.stringify(constant)}\``;
  if (choices) return choices.map((choice) => `\`${JSON.stringify(choice)}\``).join(', ');
  const options = anyOf ?? oneOf;
  if (options) return options.map(words).join(' or ');
  if (Array.isArray(type)) return type.map((one) => words({ ...schema, type: one })).join(' or ');
  switch (type) {
    case 'string':
      return `text${pattern ? ` like \`${pattern}\`` : ''}${between(schema.minLength, schema.maxLength)}`;
    case 'integer':
      return `whole number${between(schema.minimum, schema.maximum)}`;
    case 'boolean':
      return '`true` or `false`';
    case 'array':
      return `list of ${words(items ?? {})}${between(schema.minItems, schema.maxItems)}`;
    case 'object': {
      if (typeof additionalProperties === 'object') return `map to ${words(additionalProperties)}`;
      const fields = Object.entries(properties ?? {}).map(([name, inner]) => `\`${name}\`${schema.required?.includes(name) ? '' : '?'}: ${words(inner)}`);
      return fields.length === 0 ? '`{}`' : `{ ${fields.join('; ')} }`;
    }
    default:
      return String(type);
  }
}

function between(from: number | undefined, to: number | undefined): string {
  if (from && to !== undefined) return `, ${count(from)} to ${count(to)}`;
  if (to !== undefined) return `, up to ${count(to)}`;
  return from ? `, at least ${count(from)}` : '';
}

const count = (value: number): string => value.toLocaleString('en');
const anchor = (heading: string): string => heading.toLowerCase().replaceAll('.', '');
const link = (name: string): string => `[${name}](#${anchor(name)})`;

function table(head: string[], rows: string[][]): string[] {
  const line = (cells: string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${head.map(() => ' --- ').join('|')}|`, ...rows.map(line)];
}
