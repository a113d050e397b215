/**
 * `GET /documentation/downloads/`: all that a node needs to become one, without a credential. Names come from fixed lists and
 * from the checked bundle, never from the address as a path; whatever is not ready or not right is said, never half served.
 */
import { join } from 'node:path';
import { ProblemError } from '@tidemark/protocol';
import { EXIT, OperationalFailure, type Clock, type Log } from '@tidemark/service';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { addressFor } from './address.ts';
import { RELEASE, SIGNATURE, SUMS, type Bundle } from './bundle.ts';
import { bundlerIn } from './bundler.ts';
import { DOWNLOADS_STYLE, downloadsPage, type DownloadsPage } from './page.ts';
import { FileSender, STALLED_MS } from './sending.ts';
import { Shelf, type ShelfOptions, type ShelfState } from './shelf.ts';
import { openSigningKey, type SigningKey } from './signing-key.ts';
import { SCRIPTS, excuse, fillTemplate, needsBundle, readTemplate, type Placeholder, type Script } from './templates.ts';

/** The authority that the collector made for itself, where it has one. */
export interface Authority {
  pem: string;
  /** SHA-256 of its DER, 64 hexadecimal digits. */
  fingerprint: string;
}

export interface DownloadRoutesOptions {
  /** Templates below `linux` and `windows`, the bundle in `dist/bundle`, and in a checkout the program that makes it. */
  installersDir: string;
  version: string;
  /** Where the signing key is kept. */
  dataDir: string;
  clock: Clock;
  log: Log;
  publicUrl: URL | undefined;
  /** Where this collector is reached when a request does not say. */
  baseUrl: () => URL;
  authority?: Authority | undefined;
  /** What becomes of a machine that asks to join without a token. */
  policy: DownloadsPage['policy'];
  run?: ShelfOptions['run'];
  /** Bounds in milliseconds: of waiting for what is under way, and for a client that takes nothing. */
  waits?: Partial<typeof WAITS>;
}

const BASE = '/documentation/downloads';
const CA = 'ca.pem';
/** People save a script without looking at the status: it is worth waiting for, but less long than proxies wait (HAProxy on Debian: 50 s). */
const WAITS = { scriptMs: 40_000, fileMs: 2_000, stalledMs: STALLED_MS };
const RETRY_SECONDS = 5;
const TEXT = 'text/plain; charset=utf-8';

export function downloadRoutes(app: FastifyInstance, options: DownloadRoutesOptions): void {
  const downloads = new Downloads(options);
  app.addHook('preClose', () => downloads.stop());
  const shared = { config: { access: 'public' as const }, schema: { hide: true } };
  app.get(BASE, {
    ...shared,
    handler: (request, reply) => {
      // Relative, so that it holds behind a path prefix; the page's own links are relative too, and need the slash.
      if (!request.url.split('?', 1)[0]!.endsWith('/')) return reply.redirect('downloads/', 308);
      return downloads.index(request, reply);
    },
  });
  app.get(`${BASE}/page.css`, {
    ...shared,
    handler: (_, reply) => reply.type('text/css; charset=utf-8').header('cache-control', 'max-age=3600').send(DOWNLOADS_STYLE),
  });
  app.route<{ Params: { name: string } }>({
    method: ['GET', 'HEAD'],
    url: `${BASE}/:name`,
    ...shared,
    handler: (request, reply) => downloads.named(request, reply, request.params.name),
  });
}

class Downloads {
  readonly #options: DownloadRoutesOptions;
  readonly #shelf: Shelf;
  readonly #sender: FileSender;
  readonly #waits: typeof WAITS;
  #key: SigningKey | undefined;

  constructor(options: DownloadRoutesOptions) {
    const { installersDir, version, clock, log, run } = options;
    this.#options = options;
    this.#waits = { ...WAITS, ...options.waits };
    this.#sender = new FileSender(this.#waits.stalledMs);
    this.#shelf = new Shelf({
      directory: join(installersDir, 'dist', 'bundle'),
      bundler: () => bundlerIn(installersDir),
      version,
      clock,
      log,
      ...(run === undefined ? {} : { run }),
    });
  }

  stop(): Promise<void> {
    return this.#shelf.stop();
  }

  async index(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const [address, state] = [this.#address(request), await this.#shelf.settled(this.#waits.fileMs)];
    const templates = await Promise.all(SCRIPTS.map((script) => readTemplate(this.#options.installersDir, script)));
    const scripts = SCRIPTS.filter((_, i) => templates[i] !== undefined);
    const publicPem = this.#tryKey()?.publicPem;
    return reply
      .type('text/html; charset=utf-8')
      .send(downloadsPage({ address, state, scripts, publicPem, authority: this.#options.authority, policy: this.#options.policy }));
  }

  async named(request: FastifyRequest, reply: FastifyReply, name: string): Promise<FastifyReply> {
    const script = SCRIPTS.find((one) => one.name === name);
    if (script !== undefined) return this.#script(request, reply, script);
    if (name === CA) return this.#authority(reply);
    const bundle = this.#whole(await this.#shelf.settled(this.#waits.fileMs));
    switch (name) {
      case SUMS:
        return reply.type(TEXT).send(bundle.sums);
      case RELEASE:
        return reply.type('application/json; charset=utf-8').send(bundle.release);
      case SIGNATURE:
        return reply.type('application/octet-stream').send(this.#signingKey().sign(bundle.sums));
      default:
        return this.#file(request, reply, bundle, name);
    }
  }

  async #file(request: FastifyRequest, reply: FastifyReply, bundle: Bundle, name: string): Promise<FastifyReply> {
    const file = bundle.files.get(name);
    if (file === undefined) throw new ProblemError('not_found', `There is no such download. All of them: ${BASE}/`);
    if (file.fault !== undefined) throw new ProblemError('downloads_unavailable', `${name} ${file.fault}, and so is not served.`);
    if (await this.#sender.send(request, reply, file)) return reply;
    this.#shelf.doubt();
    throw new ProblemError('downloads_preparing', `${name} has changed and is being checked.`, { retryAfterSeconds: RETRY_SECONDS });
  }

  async #script(request: FastifyRequest, reply: FastifyReply, script: Script): Promise<FastifyReply> {
    const { installersDir, authority } = this.#options;
    const address = this.#address(request);
    const template = await readTemplate(installersDir, script);
    if (template === undefined) throw new ProblemError('not_found', `This installation has no ${script.name}.`);
    const isPosix = script.name.endsWith('.sh');
    let bundle: Bundle | undefined;
    if (needsBundle(template)) {
      try {
        bundle = this.#whole(await this.#shelf.settled(this.#waits.scriptMs));
      } catch (error) {
        if (!(error instanceof ProblemError) || !isPosix) throw error;
        // Saved by habit without a look at the status, and run: then it says what is wrong.
        const retrySeconds = error.retryAfterSeconds ?? RETRY_SECONDS;
        const said = excuse(
          `${error.message} Fetch ${script.name} again later; ${address}${BASE}/ shows how it stands.`,
          EXIT.downloadFailed,
        );
        return reply.code(503).header('retry-after', String(retrySeconds)).type('text/x-shellscript; charset=utf-8').send(said);
      }
    }
    const values: Readonly<Record<Placeholder, () => string>> = {
      URL: () => address,
      KEY: () => this.#signingKey().publicKey,
      RUNTIMES: () => runtimesOf(bundle!),
      FINGERPRINT: () => authority?.fingerprint ?? '',
      VERSION: () => bundle!.version,
      NODE: () => bundle!.node,
    };
    return reply.type(isPosix ? 'text/x-shellscript; charset=utf-8' : TEXT).send(fillTemplate(template, (name) => values[name]()));
  }

  #authority(reply: FastifyReply): FastifyReply {
    const own = this.#options.authority;
    if (own === undefined) throw new ProblemError('not_found', 'This collector has no certificate authority of its own.');
    return reply.type('application/x-pem-file').send(own.pem);
  }

  #whole(state: ShelfState): Bundle {
    if (state.kind === 'ready') return state.bundle;
    if (state.kind === 'unavailable')
      throw new ProblemError('downloads_unavailable', state.sentence, { retryAfterSeconds: state.retryAfterSeconds });
    const { percent, what } = state.progress;
    throw new ProblemError('downloads_preparing', `The collector is preparing its downloads: ${percent} %, ${what}.`, {
      retryAfterSeconds: RETRY_SECONDS,
    });
  }

  #signingKey(): SigningKey {
    try {
      this.#key ??= openSigningKey(this.#options.dataDir);
      return this.#key;
    } catch (error) {
      if (!(error instanceof OperationalFailure)) throw error;
      this.#options.log.error({ reason: error.message }, 'downloads cannot be signed');
      throw new ProblemError(
        'downloads_unavailable',
        'The key that downloads are signed with cannot be used; the collector’s log says why.',
        {
          cause: error,
        },
      );
    }
  }

  #tryKey(): SigningKey | undefined {
    try {
      return this.#signingKey();
    } catch (error) {
      if (error instanceof ProblemError) return undefined;
      throw error;
    }
  }

  #address(request: FastifyRequest): string {
    return addressFor(request, this.#options.publicUrl, this.#options.baseUrl);
  }
}

function runtimesOf(bundle: Bundle): string {
  return [...bundle.files.values()]
    .filter(({ name, fault }) => name.startsWith('tidemark-runtime-') && fault === undefined)
    .map(({ sha256, name }) => `${sha256} ${name}`)
    .toSorted()
    .join(';');
}
