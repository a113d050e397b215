/**
 * `npm start`: a collector with its own PostgreSQL, and an agent for this machine that watches that
 * PostgreSQL too. Installs and builds what is missing first. Both programs run in sessions of their own, so
 * that Ctrl-C is this program's to handle: the agent goes first, the collector stores what it sent and
 * stops its database last. When this program is killed, its end of their channel closes and they stop.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { hostname, networkInterfaces } from 'node:os';
import { join, resolve } from 'node:path';
import { Failure, checkNode, ensureBuilt, ensureInstalled, root, runCommand } from './prepare.mjs';

const AGENT_RESTART_BASE_MS = 1_000;
const AGENT_RESTART_MAX_MS = 30_000;
/** An agent that ran this long has not failed at starting. */
const AGENT_STEADY_MS = 60_000;
const AGENT_STOP_MS = 10_000;
/** More than the collector gives itself. */
const COLLECTOR_STOP_MS = 50_000;
const PARENT_WATCH_MS = 1_000;
/** npm passes on the signal that the terminal has sent to everybody: the same key, not a second one. */
const SAME_KEY_MS = 500;
const DEFAULT_PORT = '5000';
const REQUEST_TIMEOUT_MS = 10_000;
/** Of the environment, what is meant for the agent too. The rest speaks to the collector. */
const AGENT_ENVIRONMENT = /^TIDEMARK_(?:INTERVAL|SITE|TAG|LOG_LEVEL|LOG_FORMAT|SPOOL_\w+)$/;

/** One run of both programs, from start to the exit code. */
class Session {
  collector;
  agent;
  #stopping = false;
  #announced = false;
  #stopRequestedMs = 0;
  #finish;
  #agentTimer;
  #agentFailures = 0;

  async run() {
    const finished = new Promise((done) => {
      this.#finish = done;
    });
    this.#listenToSignals();
    this.#watchParents();
    const collector = this.#spawn(['collector/dist/main.js', 'run'], process.env);
    this.collector = collector;
    collector.once('message', (message) => void this.#ready(message));
    void collector.exited.then((exit) => this.#collectorLeft(exit));
    return await finished;
  }

  /** Begins to stop, once. */
  stop(exitCode) {
    if (this.#stopping) return;
    this.#stopping = true;
    clearTimeout(this.#agentTimer);
    void this.#stopAll().then(() => this.#finish(exitCode));
  }

  async #stopAll() {
    await endProcess(this.agent, AGENT_STOP_MS);
    await endProcess(this.collector, COLLECTOR_STOP_MS);
  }

  #collectorLeft({ code, signal }) {
    if (this.#stopping) return;
    const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
    // One that could not start has said why, in its own sentence.
    if (this.#announced || signal !== null) say(`The collector has stopped (${how}); its last words are above.`);
    this.stop(code || 1);
  }

  async #ready(message) {
    if (message?.kind !== 'ready' || this.#stopping) return;
    const dataDir = resolve(root, message.dataDir);
    announce(message);
    this.#announced = true;
    try {
      const config = await prepareAgent(message, dataDir);
      this.#runAgent(config);
    } catch (error) {
      if (this.#stopping) return;
      say(`This machine's agent cannot be set up: ${sentenceOf(error)} The collector runs on without it.`);
    }
  }

  #runAgent(config) {
    if (this.#stopping) return;
    const flags = JSON.parse(readFileSync(join(root, 'installers/dist/tidemark-agent.flags.json'), 'utf8'));
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^(?:TIDEMARK_|DATABASE_URL$)/.test(name) || AGENT_ENVIRONMENT.test(name)),
    );
    const startedMs = performance.now();
    const agent = this.#spawn([...flags, 'installers/dist/tidemark-agent.cjs', 'run', '--config', config], {
      ...env,
      UV_THREADPOOL_SIZE: '16',
    });
    this.agent = agent;
    void agent.exited.then(({ code, signal }) => {
      if (this.#stopping) return;
      if (performance.now() - startedMs > AGENT_STEADY_MS) this.#agentFailures = 0;
      const waitMs = Math.min(AGENT_RESTART_MAX_MS, AGENT_RESTART_BASE_MS * 2 ** this.#agentFailures++);
      say(`This machine's agent has stopped (${signal ?? `exit code ${code}`}); it is started again in ${waitMs / 1000} s.`);
      this.#agentTimer = setTimeout(() => this.#runAgent(config), waitMs);
    });
  }

  #spawn(args, env) {
    const child = spawn(process.execPath, args, { cwd: root, env, detached: true, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    // A child that is gone takes its channel with it; that is told by its exit.
    child.on('error', () => {});
    child.exited = new Promise((done) => {
      child.once('exit', (code, signal) => done({ code, signal }));
    });
    return child;
  }

  #listenToSignals() {
    const onSignal = (signal) => {
      const now = performance.now();
      if (!this.#stopping) {
        this.#stopRequestedMs = now;
        say('Stopping…');
        this.stop(0);
      } else if (signal === 'SIGINT' && now - this.#stopRequestedMs > SAME_KEY_MS) {
        say('Stopping at once. The next start puts the database right.');
        for (const child of [this.agent, this.collector]) if (isRunning(child)) child.kill('SIGKILL');
      }
    };
    const signals = isIgnored(1) ? ['SIGINT', 'SIGTERM'] : ['SIGINT', 'SIGTERM', 'SIGHUP'];
    for (const signal of signals) process.on(signal, onSignal);
    // A terminal that has gone takes no more words.
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  }

  /** Nobody tells a child that npm was killed: whoever was above us is no longer there. */
  #watchParents() {
    if (process.env.npm_lifecycle_event === undefined) return;
    const before = ancestry();
    setInterval(() => {
      if (this.#stopping || ancestry() === before) return;
      say('The npm that started this has gone. Stopping.');
      this.stop(0);
    }, PARENT_WATCH_MS).unref();
  }
}

/** npm's pid, or a shell's and npm's where npm keeps one between us. */
function ancestry() {
  const parent = process.ppid;
  try {
    const command = readFileSync(`/proc/${parent}/cmdline`, 'utf8').split('\0');
    if (!/(?:^|\/)(?:ba|da)?sh$/.test(command[0] ?? '') || command[1] !== '-c') return `${parent}`;
    const stat = readFileSync(`/proc/${parent}/stat`, 'utf8');
    return `${parent} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]}`;
  } catch {
    return `${parent}`;
  }
}

/** True when this process was started with the signal ignored, as nohup does. */
function isIgnored(signalNumber) {
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
    return (BigInt(`0x${mask}`) & (1n << BigInt(signalNumber - 1))) !== 0n;
  } catch {
    return false;
  }
}

const isRunning = (child) => child !== undefined && child.exitCode === null && child.signalCode === null;

/** Asks a child to stop and waits for it; it is made to when it does not. */
async function endProcess(child, timeoutMs) {
  if (!isRunning(child)) return;
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  await child.exited;
  clearTimeout(timer);
}

// --- this machine's agent -------------------------------------------------------------------------------------

/** Makes sure that this machine is a node with a token, and writes its agent's configuration. Returns the file's path. */
async function prepareAgent({ url, adminTokenFile, agentPostgres, trust }, dataDir) {
  const directory = join(dataDir, 'agent');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const name = process.env.TIDEMARK_HOSTNAME || hostname();
  const tokenFile = join(directory, 'token');
  const server = { url, tls: tlsOptions(trust) };
  if (!(await isKnown(server, tokenFile))) {
    const adminToken = readFileSync(resolve(root, adminTokenFile), 'utf8').trim();
    writePrivately(tokenFile, `${await makeToken(server, adminToken, name)}\n`);
  }
  const postgres =
    agentPostgres === undefined
      ? []
      : [{ name: 'tidemark', url: agentPostgres.url, passwordFile: resolve(root, agentPostgres.passwordFile) }];
  const config = join(directory, 'agent.yaml');
  // JSON is YAML.
  const values = { server: url, tokenFile, dataDir: directory, hostname: name, postgres, ...agentTrust(trust) };
  const lines = Object.entries(values).map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`);
  writePrivately(config, `# Written by "npm start" at every start.\n${lines.join('')}`);
  return config;
}

/** What this program trusts of a collector on this machine: its own authority, or its certificate as it stands in its file. */
function tlsOptions(trust) {
  if (trust === undefined) return {};
  const pem = readFileSync(resolve(root, trust.file), 'utf8');
  if (!trust.exact) return { ca: pem };
  const [own = pem] = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/.exec(pem) ?? [];
  return { ca: own, allowPartialTrustChain: true, checkServerIdentity: () => undefined };
}

/** An agent judges as everywhere else, by name and authority: with a certificate of the operator's it needs the address that it is for. */
function agentTrust(trust) {
  if (trust === undefined) return {};
  if (!trust.exact) return { caFile: resolve(root, trust.file) };
  const { TIDEMARK_PUBLIC_URL: publicUrl, TIDEMARK_CA_FILE: caFile } = process.env;
  return { ...(publicUrl && { server: publicUrl }), ...(caFile && { caFile: resolve(root, caFile) }) };
}

/** False when there is no token, or when this collector does not know it (its database was made anew). */
async function isKnown(server, tokenFile) {
  let token;
  try {
    token = readFileSync(tokenFile, 'utf8').trim();
  } catch {
    return false;
  }
  // An empty request is refused whoever sends it; the credential is looked at first.
  const { problem } = await request(server, '/api/telemetry/v1/reports', token, {});
  return problem?.code !== 'credential_unknown';
}

/** A token for a node of this name: of a new node, or a new one for the node that is there. */
async function makeToken(server, adminToken, name) {
  const added = await request(server, '/api/telemetry/nodes', adminToken, { name });
  const made =
    added.problem?.code === 'name_taken'
      ? await request(server, `/api/telemetry/nodes/${encodeURIComponent(name)}/token`, adminToken)
      : added;
  if (made.problem !== undefined)
    throw new Failure(`${made.problem.title ?? 'the collector refused'}: ${made.problem.detail ?? made.problem.status}`);
  return made.body.token;
}

/** By node:http and not by fetch, which refuses ports that browsers hold to be unsafe (5060, 6000, …) and does not say so. */
function request({ url, tls }, path, token, body) {
  const text = body === undefined ? '' : JSON.stringify(body);
  return new Promise((done, failed) => {
    const headers = {
      authorization: `Bearer ${token}`,
      'content-length': Buffer.byteLength(text),
      ...(text === '' ? {} : { 'content-type': 'application/json' }),
    };
    const address = new URL(path, url);
    const outgoing = (address.protocol === 'https:' ? httpsRequest : httpRequest)(
      address,
      { method: 'POST', headers, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS), ...tls },
      (response) => {
        let answer = '';
        response.setEncoding('utf8').on('data', (chunk) => (answer += chunk));
        response.on('error', failed).on('end', () => {
          const document = parsed(answer);
          done(response.statusCode < 300 ? { body: document } : { problem: { status: response.statusCode, ...document } });
        });
      },
    );
    outgoing.on('error', failed);
    outgoing.end(text);
  });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function writePrivately(path, content) {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, content, { mode: 0o600 });
  renameSync(temporary, path);
}

// --- words ----------------------------------------------------------------------------------------------------

function announce({ url, listen, dataDir, adminTokenFile }) {
  const tokenFile = resolve(root, adminTokenFile);
  const [first, ...others] = addressesOf(url, listen?.host);
  say(
    [
      '',
      'Tidemark runs.',
      '',
      `  Console   ${first}`,
      ...others.map((address) => `            ${address}`),
      `  Sign in   with the admin token, which this command shows:`,
      `            cat ${shellWord(tokenFile)}`,
      ...commandLines({ url, dataDir }),
      '',
      'This machine appears there within seconds. Ctrl-C stops everything.',
      '',
    ].join('\n'),
  );
}

/** Commands find a collector with the port and the data directory of a default; where others are, they are told. */
function commandLines({ url, dataDir }) {
  const { port, origin } = new URL(url);
  const directory = resolve(root, dataDir);
  const options = [
    ...(port === DEFAULT_PORT ? [] : ['--server', origin]),
    ...(directory === join(root, 'data') ? [] : ['--data-dir', shellWord(directory)]),
  ];
  return options.length === 0
    ? []
    : ['  Commands  are told where it is:', `            npx tidemark-collector nodes list ${options.join(' ')}`];
}

const shellWord = (text) => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** Where the console is: on this machine, and, when it listens to all, by this machine's addresses in its networks. */
function addressesOf(url, host) {
  const everywhere = host === '0.0.0.0' || host === '::';
  const { protocol, port, hostname: reached } = new URL(url);
  const usualPort = protocol === 'https:' ? 443 : 80;
  const local = /^(?:127\.0\.0\.1|\[::1\]|localhost)$/.test(reached) ? `${protocol}//localhost:${port || usualPort}` : url;
  if (!everywhere) return [local];
  const outside = Object.entries(networkInterfaces())
    .filter(([name]) => !/^(?:docker|br-|veth|virbr|cni|flannel)/.test(name))
    .flatMap(([, addresses]) => addresses ?? [])
    .filter(({ internal, family }) => !internal && family === 'IPv4')
    .map(({ address }) => `${protocol}//${address}:${port || usualPort}`);
  return [local, ...outside.slice(0, 3)];
}

function say(text) {
  process.stdout.write(`${text}\n`);
}

function sentenceOf(error) {
  const text = error instanceof Error ? error.message : String(error);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

const HELP = `Runs a collector with a PostgreSQL of its own and an agent for this machine; installs and builds what is missing.

  npm start
  TIDEMARK_LISTEN=127.0.0.1:5055 npm start                 another address
  TIDEMARK_CONFIG=collector.yaml npm start                 with thresholds and channels of your own

Every option of the collector can be given as TIDEMARK_…: docs/reference/configuration.md. Ctrl-C stops everything.
`;

await runCommand(async () => {
  if (process.argv.slice(2).some((argument) => argument === '--help' || argument === '-h')) {
    process.stdout.write(HELP);
    return 0;
  }
  checkNode();
  await ensureInstalled();
  await ensureBuilt('programs', 'console', 'agent');
  return await new Session().run();
});
// Timers and channels that are still there have nothing left to do.
process.exit();
