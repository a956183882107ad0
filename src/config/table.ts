import { jsonSchema, KEYS, keyHelp, siteSchema } from './schema.ts';

/** One line of the README's table of keys. */
export interface SettingRow {
  readonly key: string;
  readonly required: string;
  readonly fallback: string;
  readonly meaning: string;
}

/** The README's Markdown table of what a site may say, with a line break at its end. */
export function settingsTable(): string {
  const rows = settingRows().map(({ key, required, fallback, meaning }) =>
    line(`\`${key}\``, required, fallback, meaning),
  );
  return `${[line('key', 'required', 'default', 'meaning'), line('---', '---', '---', '---'), ...rows].join('\n')}\n`;
}

/** What the table says, key by key, in the order of the schema. */
export function settingRows(): readonly SettingRow[] {
  const { site } = jsonSchema().definitions as {
    site: { properties: Record<string, { default?: unknown }>; required: readonly string[] };
  };
  return KEYS.map((key) => {
    const schema = siteSchema.shape[key];
    const { required = 'no', fallback } = keyHelp.get(schema) ?? {};
    const must = site.required.includes(key);
    return {
      key,
      required: must ? 'yes' : required,
      fallback: must ? '' : (fallback ?? code(site.properties[key]?.default)),
      meaning: schema.description ?? '',
    };
  });
}

const line = (...cells: readonly string[]): string =>
  `|${cells.map((cell) => (cell === '' ? ' |' : ` ${cell.replaceAll('|', '\\|')} |`)).join('')}`;

const code = (value: unknown): string =>
  `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;
