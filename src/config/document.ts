import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type YAMLMap,
} from 'yaml';
import { suggestion } from '../nearest.ts';

/** A value of a YAML text, with anchors and merge keys resolved, and where it stands in the text. */
export type Located = { readonly offset: number } & (
  | { readonly kind: 'scalar'; readonly value: unknown; readonly source: string }
  | { readonly kind: 'list'; readonly items: readonly Located[] }
  | { readonly kind: 'map'; readonly entries: ReadonlyMap<string, Located> }
);

/** Something wrong with the text itself. */
export interface TextFault {
  readonly offset: number;
  readonly path: readonly string[];
  readonly message: string;
}

export interface YamlText {
  /** Undefined: the text holds nothing, or cannot be read. */
  readonly root: Located | undefined;
  readonly faults: readonly TextFault[];
  /** Written as a block, so that lines can be added: the column (0-based) of its keys; undefined: not so. */
  readonly indent: number | undefined;
  /** Line and column of an offset, both from 1 on. */
  readonly position: (offset: number) => { readonly line: number; readonly column: number };
}

/** Reads a YAML 1.2 text whose top level is a map. Keys for which `ignored` holds are left out. Never throws. */
export function readYaml(text: string, ignored: (key: string) => boolean): YamlText {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    merge: true,
    uniqueKeys: false,
    prettyErrors: false,
    lineCounter: lines,
  });
  const position = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    const mark = line === 1 && text.startsWith('\ufeff') ? 1 : 0;
    return { line: Math.max(line, 1), column: Math.max(col - mark, 1) };
  };
  const said = [...document.errors, ...document.warnings].map(({ code, message, pos }) => ({
    offset: pos[0],
    path: [],
    message: YAML_MESSAGES[code] ?? message,
  }));
  const contents = document.contents as Node | null;
  if (document.errors.length > 0 || contents === null) {
    return { root: undefined, faults: said, indent: contents === null ? 0 : undefined, position };
  }
  const reader = new Reader(document as Document, text, ignored);
  const root = reader.read(contents, offsetOf(contents), []);
  const faults = [...said, ...reader.faults];
  return { root, faults, indent: indentOf(contents, position), position };
}

/** The plain value. `asWritten`: numbers and the like as the text that stands there. */
export function plain(located: Located, asWritten = false): unknown {
  switch (located.kind) {
    case 'scalar':
      return asWritten && located.value !== null ? located.source : located.value;
    case 'list':
      return located.items.map((item) => plain(item, asWritten));
    case 'map': {
      const entries = [...located.entries].map(([key, value]) => [key, plain(value, asWritten)]);
      return Object.fromEntries(entries);
    }
  }
}

/** Where a path stands, or what of it there is. */
export function offsetAt(located: Located, path: readonly string[]): number {
  const [key, ...rest] = path;
  const inner =
    key === undefined || located.kind === 'scalar'
      ? undefined
      : located.kind === 'map'
        ? located.entries.get(key)
        : located.items[Number(key)];
  return inner === undefined ? located.offset : offsetAt(inner, rest);
}

/** A YAML value as it stands on a command line. Throws what is wrong with it. */
export function readValue(text: string): unknown {
  const document = parseDocument(text, { prettyErrors: false });
  const [error] = document.errors;
  if (error !== undefined) throw new SyntaxError(error.message);
  return document.toJS();
}

const YAML_MESSAGES: Readonly<Record<string, string>> = {
  MULTIPLE_DOCS: 'a second YAML document begins here: all sites belong in one',
  TAB_AS_INDENT: 'a tab is no indentation in YAML: use spaces',
};

function indentOf(contents: Node, position: YamlText['position']): number | undefined {
  if (isScalar(contents)) return contents.source === '' ? 0 : undefined;
  const first = isMap(contents) && !contents.flow ? contents.items[0] : undefined;
  return first && position(offsetOf(first.key as Node)).column - 1;
}

const offsetOf = (node: Node): number => node.range?.[0] ?? 0;

class Reader {
  readonly faults: TextFault[] = [];
  readonly #document: Document;
  readonly #text: string;
  readonly #ignored: (key: string) => boolean;
  readonly #above = new Set<Node>();

  constructor(document: Document, text: string, ignored: (key: string) => boolean) {
    this.#document = document;
    this.#text = text;
    this.#ignored = ignored;
  }

  /** `offset`: where the key or the list item stands that holds the node. */
  read(node: Node | null, offset: number, path: readonly string[]): Located {
    const target = this.#resolved(node, path);
    if (isScalar(target)) {
      const { value, source } = target;
      return { kind: 'scalar', offset, value, source: source ?? String(value) };
    }
    if (target === undefined || this.#above.has(target)) {
      if (target !== undefined) this.#fault(node, path, 'holds itself');
      return { kind: 'scalar', offset, value: null, source: '' };
    }
    this.#above.add(target);
    const located: Located = isMap(target)
      ? { kind: 'map', offset, entries: this.#entries(target, path) }
      : {
          kind: 'list',
          offset,
          items: isSeq(target) ? this.#items(target.items as Node[], path) : [],
        };
    this.#above.delete(target);
    return located;
  }

  #items(items: readonly Node[], path: readonly string[]): readonly Located[] {
    return items.map((item, index) => this.read(item, offsetOf(item), [...path, String(index)]));
  }

  /** A map's own keys, then those that are merged into it. */
  #entries(map: YAMLMap, path: readonly string[]): ReadonlyMap<string, Located> {
    const entries = new Map<string, Located>();
    const pairs = map.items as Pair<Node, Node | null>[];
    for (const { key, value } of pairs.filter((pair) => !isMerge(pair))) {
      const name = this.#keyName(key, path);
      if (name === undefined || (path.length === 0 && this.#ignored(name))) continue;
      if (entries.has(name)) this.#fault(key, [...path, name], 'is given twice');
      else entries.set(name, this.read(value, offsetOf(key), [...path, name]));
    }
    for (const pair of pairs.filter(isMerge)) {
      for (const [name, value] of this.#merged(pair, path)) {
        if (!entries.has(name)) entries.set(name, value);
      }
    }
    return entries;
  }

  #merged({ key, value }: Pair<Node, Node | null>, path: readonly string[]) {
    const source = this.read(value, offsetOf(key), path);
    const maps = source.kind === 'list' ? source.items : [source];
    const merged = new Map<string, Located>();
    for (const map of maps) {
      if (map.kind === 'map') {
        for (const [name, entry] of map.entries) if (!merged.has(name)) merged.set(name, entry);
      } else if (map.kind === 'list' || map.value !== null) {
        this.#fault(key, path, '<< merges maps only, such as <<: *defaults');
      }
    }
    return merged;
  }

  #keyName(key: Node, path: readonly string[]): string | undefined {
    const node = this.#resolved(key, path);
    if (isScalar(node) && node.value !== null) return node.source ?? String(node.value);
    this.#fault(key, path, 'a key must be a name');
    return undefined;
  }

  #resolved(node: Node | null, path: readonly string[]): Node | undefined {
    if (!isAlias(node)) return node ?? undefined;
    const found = node.resolve(this.#document);
    if (found === undefined) {
      const anchors = [...this.#text.matchAll(/&([^\s,[\]{}]+)/g)].map(
        ([, name]) => name as string,
      );
      this.#fault(
        node,
        path,
        `no anchor &${node.source} stands above${suggestion(node.source, anchors)}`,
      );
    }
    return found;
  }

  #fault(node: Node | null, path: readonly string[], message: string): void {
    this.faults.push({ offset: node === null ? 0 : offsetOf(node), path, message });
  }
}

const isMerge = ({ key }: Pair<Node, unknown>): boolean =>
  isScalar(key) && typeof key.value === 'symbol';
