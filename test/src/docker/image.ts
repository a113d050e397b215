/**
 * A container image without a container engine: the instructions of a Dockerfile, as its parser reads them, carried out in a Debian
 * of a test's own, and then run as an engine would be told to: as the image's user, without a capability, on a read-only root.
 */
import type { ChildProcess } from 'node:child_process';
import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DockerfileParser, type JSONInstruction, type Property } from 'dockerfile-ast';
import type { Machine } from '../installing/machine.ts';
import type { Outcome } from '../programs.ts';

const run = promisify(execFile);

export interface Instruction {
  keyword: string;
  /** As written, continued lines included. */
  text: string;
  /** The strings of the JSON form; empty for the other one. */
  json: readonly string[];
  /** `NAME=value` of ARG, ENV and LABEL; a name alone has no value. */
  properties: readonly (readonly [string, string | null])[];
}

export function readDockerfile(file: string): Instruction[] {
  return DockerfileParser.parse(readFileSync(file, 'utf8'))
    .getInstructions()
    .map((instruction) => ({
      keyword: instruction.getKeyword(),
      text: instruction.getRawArgumentsContent() ?? '',
      json: ((instruction as Partial<JSONInstruction>).getJSONStrings?.() ?? []).map((argument) => argument.getJSONValue()),
      properties: propertiesOf(instruction as { getProperties?: () => Property[]; getProperty?: () => Property | null }),
    }));
}

function propertiesOf(instruction: { getProperties?: () => Property[]; getProperty?: () => Property | null }): [string, string | null][] {
  const one = instruction.getProperty?.();
  const all = instruction.getProperties?.() ?? (one === undefined || one === null ? [] : [one]);
  return all.map((property) => [property.getName(), property.getValue()]);
}

export class Image {
  readonly environment: Record<string, string> = {};
  user = '0:0';
  directory = '/';
  volume = '';
  entrypoint: readonly string[] = [];
  command: readonly string[] = [];
  health: readonly string[] = [];
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Carries the instructions out. Resolves with the first RUN that failed, or undefined. */
  async build(instructions: readonly Instruction[], context: string, given: Record<string, string> = {}): Promise<Outcome | undefined> {
    const args: Record<string, string> = {};
    const filled = (text: string): string =>
      text.replaceAll(/\$\{([A-Z]+)\}/g, (_, name: string) => args[name] ?? this.environment[name] ?? '');
    for (const { keyword, text, json, properties } of instructions) {
      switch (keyword) {
        case 'ARG':
          for (const [name, value] of properties) args[name] = given[name] ?? value ?? '';
          break;
        case 'ENV':
          for (const [name, value] of properties) this.environment[name] = filled(value ?? '');
          break;
        case 'ADD':
          await this.#add(filled(text).split(/\s+/), context);
          break;
        case 'RUN': {
          const outcome = await this.#machine.run(text, { ...args, ...this.environment });
          if (outcome.code !== 0) return outcome;
          break;
        }
        case 'USER':
          this.user = text;
          break;
        case 'WORKDIR':
          this.directory = text;
          break;
        case 'VOLUME':
          this.volume = text;
          break;
        case 'ENTRYPOINT':
          this.entrypoint = json;
          break;
        case 'CMD':
          this.command = json;
          break;
        case 'HEALTHCHECK':
          this.health = JSON.parse(text.replace(/^CMD /, '')) as string[];
          break;
        case 'FROM':
        case 'LABEL':
        case 'EXPOSE':
        case 'STOPSIGNAL':
          break;
        default:
          throw new Error(`${keyword} is not understood here`);
      }
    }
    return undefined;
  }

  async #add([pattern = '', target = '']: string[], context: string): Promise<void> {
    const form = new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll('*', '.*')}$`);
    const archives = readdirSync(context).filter((name) => form.test(name));
    if (archives.length === 0) throw new Error(`${pattern} matches nothing in ${context}`);
    for (const archive of archives) await run('tar', ['-xf', join(context, archive), '-C', this.#machine.path(target)]);
  }

  /** A line of shell that becomes the program, in the image's environment and as its user, on a root that nobody can write to. */
  line(program: readonly string[], more: Record<string, string> = {}): string {
    const [uid, gid] = this.user.split(':');
    const environment = Object.entries({ PATH: '/usr/local/bin:/usr/bin:/bin', ...this.environment, ...more }).map(
      ([name, value]) => `${name}=${value}`,
    );
    const words = ['env', '-i', ...environment, ...program].map((word) => `'${word}'`).join(' ');
    const privileges = `--reuid=${uid} --regid=${gid} --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all`;
    const mounts = `mount --bind ${this.volume} ${this.volume} && mount -o remount,ro,bind / && mount -o remount,ro,bind /run`;
    return `exec unshare --mount sh -c "${mounts} && cd ${this.directory} && exec setpriv ${privileges} ${words}"`;
  }

  start(more: Record<string, string> = {}): ChildProcess {
    return this.#machine.spawn(this.line([...this.entrypoint, ...this.command], more));
  }

  healthCheck(more: Record<string, string> = {}): Promise<Outcome> {
    return this.#machine.run(this.line(this.health, more));
  }
}
