import { execa } from 'execa';

/** All that a SQLite database holds, tables and rows, as SQL; but for the counters that give the next row its number. */
export async function databaseOf(file: string): Promise<string> {
  return (await execa('/usr/bin/python3', ['-c', DUMP, file])).stdout;
}

const DUMP = `
import sqlite3, sys
for line in sqlite3.connect(sys.argv[1]).iterdump():
    if "sqlite_sequence" not in line:
        print(line)
`;
