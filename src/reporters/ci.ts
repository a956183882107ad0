/** How the log of a CI service folds, and what its lines may not say. All texts are whole lines with their newlines. */
export interface Ci {
  /** Begins a group of lines that is shown folded, under its title. Groups do not nest. */
  readonly group: (title: string) => Group;
  /** What says why a command failed, as the service wants to be told: its first line is the summary. */
  readonly failure: (text: string) => string;
  /** The text, none of which is a command to the service. */
  readonly harmless: (text: string) => string;
}

interface Group {
  readonly start: string;
  /** What ends it: made when that is. */
  readonly end: () => string;
}

/** The service that the environment says we run in, if we know its log. */
export function ciOf(env: NodeJS.ProcessEnv): Ci | undefined {
  if (env.GITHUB_ACTIONS === 'true') return github;
  return env.GITLAB_CI === 'true' ? gitlab() : undefined;
}

/** Workflow commands: `::name::data` at the start of a line, blanks before it or not, and `##[name]data` anywhere in it. */
const github: Ci = {
  group: (title) => ({ start: `::group::${escaped(title)}\n`, end: () => '::endgroup::\n' }),
  failure: (text) => `::error::${escaped(text)}\n`,
  harmless: (text) => text.replace(/^(\s*)::/gm, '$1| ::').replaceAll('##[', '## ['),
};

const escaped = (text: string): string =>
  text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');

/** Sections: a name is one of a log's own, of letters, digits, `_`, `.` and `-`; times are seconds since 1970. */
function gitlab(): Ci {
  let count = 0;
  const now = () => Math.floor(Date.now() / 1000);
  return {
    group: (title) => {
      const name = `deployer_${process.pid}_${++count}`;
      return {
        start: `\x1b[0Ksection_start:${now()}:${name}[collapsed=true]\r\x1b[0K${title}\n`,
        end: () => `\x1b[0Ksection_end:${now()}:${name}\r\x1b[0K\n`,
      };
    },
    failure: (text) => `${text}\n`,
    harmless: (text) => text,
  };
}
