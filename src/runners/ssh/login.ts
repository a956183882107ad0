import type { AnyAuthMethod, AuthHandlerMiddleware, Prompt } from 'ssh2';
import { DeployError } from '../../errors.ts';
import type { Destination } from './destination.ts';
import type { Identities } from './identities.ts';

/** Asks a person; `hidden`: what is typed is not shown. */
export type Ask = (question: string, hidden: boolean) => Promise<string>;

/** Where passwords come from. */
export interface Questions {
  /** DEPLOYER_PASSWORD. */
  readonly password: string | undefined;
  /** Undefined: nobody is there. */
  readonly ask: Ask | undefined;
}

/** One attempt to log in: keys first, then a password, as the host takes them. */
export class Login {
  readonly #to: Destination;
  readonly #identities: Identities;
  readonly #questions: Questions;
  readonly #tried = new Set<string>();
  #accepted: readonly string[] = [];
  #asked = 0;

  constructor(to: Destination, identities: Identities, questions: Questions) {
    this.#to = to;
    this.#identities = identities;
    this.#questions = questions;
  }

  /** For ssh2: the next method to try. */
  readonly handler: AuthHandlerMiddleware = (left, _partial, next) => {
    this.#accepted = (left as readonly string[] | null) ?? this.#accepted;
    this.#next(left as readonly string[] | null).then(
      (method) => next(method as AnyAuthMethod),
      () => next(false as unknown as AnyAuthMethod),
    );
  };

  async #next(left: readonly string[] | null): Promise<AnyAuthMethod | false> {
    const username = this.#to.user;
    const { agent, offered } = this.#identities;
    const { password, ask } = this.#questions;
    const first = (method: string) =>
      left?.includes(method) !== false && !this.#tried.has(method) && this.#tried.add(method);
    if (offered.length > 0 && first('publickey')) return { type: 'agent', username, agent };
    if (left === null) return { type: 'none', username };
    if (password !== undefined && first('password'))
      return { type: 'password', username, password };
    if ((password !== undefined || ask !== undefined) && first('keyboard-interactive'))
      return {
        type: 'keyboard-interactive',
        username,
        prompt: (_name, _instructions, _language, prompts, finish) => {
          this.#answers(prompts).then(finish, () => finish([]));
        },
      };
    if (ask !== undefined && left.includes('password') && this.#asked++ < 3)
      return { type: 'password', username, password: await ask(`${this.#who}'s password: `, true) };
    return false;
  }

  /** A single hidden question is the one for the password. */
  async #answers(prompts: readonly Prompt[]): Promise<string[]> {
    const { password, ask } = this.#questions;
    const [only] = prompts;
    if (password !== undefined && prompts.length === 1 && !only?.echo) return [password];
    const answers: string[] = [];
    for (const { prompt, echo } of prompts)
      answers.push((await ask?.(`${this.#who}: ${prompt}`, echo !== true)) ?? '');
    return answers;
  }

  get #who(): string {
    return `${this.#to.user}@${this.#to.name}`;
  }

  /** Why it came to nothing. */
  async refusal(said: string): Promise<DeployError> {
    const notes = await this.#identities.explain();
    const offered = [
      ...this.#identities.offered,
      ...(this.#tried.has('password') || this.#asked > 0 ? ['a password'] : []),
    ];
    const accepts = this.#accepted.join(', ');
    const lines = [
      `${this.#who}: permission denied${accepts === '' ? '' : `; the host takes: ${accepts}`}`,
      `offered: ${offered.join(', ') || 'nothing: there is no key here'}`,
      ...(/too many/i.test(said) ? [`the host says: ${said}`] : []),
      ...notes,
    ];
    return new DeployError('unreachable', lines.join('\n'), { hint: this.#hint(said, notes) });
  }

  #hint(said: string, notes: readonly string[]): string {
    const { user, host, port } = this.#to;
    const locked = notes.find((note) => note.includes(': encrypted'))?.split(': ')[0];
    if (locked !== undefined)
      return `set DEPLOYER_PASSPHRASE, or load the key into the SSH agent: ssh-add ${locked}`;
    if (/too many/i.test(said))
      return `set IdentityFile and "IdentitiesOnly yes" for ${this.#to.name} in ~/.ssh/config, or DEPLOYER_IDENTITY`;
    if (notes.some((note) => /certificate|FIDO/.test(note)))
      return 'give deployer a plain key that the host accepts, in DEPLOYER_IDENTITY or as IdentityFile';
    const copy = `ssh-copy-id ${port === 22 ? '' : `-p ${port} `}${user}@${host}`;
    return `check the user, and let the host know your key: ${copy}; or name another key in DEPLOYER_IDENTITY`;
  }
}
