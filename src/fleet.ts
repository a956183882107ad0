/** How many at once. */
export interface Width {
  /** Hosts side by side. */
  readonly hosts: number;
  /** Sites of one host side by side. */
  readonly perHost: number;
}

/** Does `work` for every item, items of one host at most `perHost` at a time; results in the order of the items. */
export async function inParallel<Item, Result>(
  items: readonly Item[],
  hostOf: (item: Item) => string,
  width: Width,
  work: (item: Item) => Promise<Result>,
): Promise<readonly Result[]> {
  const results = new Map<Item, Result>();
  const hosts = grouped(items, hostOf);
  await atMost(width.hosts, hosts, (sites) =>
    atMost(width.perHost, sites, async (item) => void results.set(item, await work(item))),
  );
  return items.map((item) => results.get(item) as Result);
}

function grouped<Item>(
  items: readonly Item[],
  keyOf: (item: Item) => string,
): readonly (readonly Item[])[] {
  const groups = new Map<string, Item[]>();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return [...groups.values()];
}

async function atMost<Item>(
  count: number,
  items: readonly Item[],
  work: (item: Item) => Promise<unknown>,
): Promise<void> {
  const queue = items.values();
  const worker = async () => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(count, items.length) }, worker));
}
