import type { ParsedKey } from 'ssh2';
import type { Ask } from './login.ts';

/** Opens encrypted key files: with DEPLOYER_PASSPHRASE, else with what a person says, who is asked once for each. */
export class Passphrases {
  readonly #given: string | undefined;
  readonly #opened = new Map<string, Promise<ParsedKey | string>>();

  constructor(given: string | undefined) {
    this.#given = given;
  }

  /** The private key, or why there is none. */
  open(path: string, ask: Ask | undefined): Promise<ParsedKey | string> {
    const opened = this.#opened.get(path) ?? this.#open(path, ask);
    this.#opened.set(path, opened);
    return opened;
  }

  async #open(path: string, ask: Ask | undefined): Promise<ParsedKey | string> {
    const { decrypted } = await import('./key-file.ts'); // and with it ssh2
    if (this.#given !== undefined)
      return (await decrypted(path, this.#given)) ?? 'encrypted, and not with DEPLOYER_PASSPHRASE';
    if (ask === undefined) return 'encrypted, and nobody is here to give its passphrase';
    for (let tries = 0; tries < 3; tries++) {
      const passphrase = await ask(`passphrase of ${path}: `, true);
      if (passphrase === '') break;
      const key = await decrypted(path, passphrase);
      if (key !== undefined) return key;
    }
    return 'encrypted, and no passphrase opened it';
  }
}
