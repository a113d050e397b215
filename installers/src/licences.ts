/** The licences of the packages that are inside our bundled files: their terms ask to be passed on with them. */
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** The directories of the packages that went into a bundle, from the inputs that esbuild names. */
export function packagesOf(inputs: Iterable<string>): string[] {
  const found = new Set<string>();
  for (const input of inputs) {
    const directory = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input.replaceAll('\\', '/'))?.[0];
    if (directory !== undefined) found.add(directory);
  }
  return [...found].toSorted();
}

/** One text with each package's name, version and licence. `directories` are relative to the checkout. */
export async function licencesOf(root: string, directories: readonly string[]): Promise<string> {
  const parts = new Map<string, string>();
  for (const directory of directories) {
    const at = join(root, directory);
    const { name, version, license } = JSON.parse(await readFile(join(at, 'package.json'), 'utf8')) as {
      name: string;
      version: string;
      license?: string;
    };
    const files = (await readdir(at)).filter((file) => /^(?:licen[cs]e|copying|notice)/i.test(file)).toSorted();
    const texts = await Promise.all(files.map((file) => readFile(join(at, file), 'utf8')));
    parts.set(`${name} ${version}`, `${license ?? ''}\n\n${texts.map((text) => text.replaceAll('\r\n', '\n').trim()).join('\n\n')}`.trim());
  }
  return [...parts]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([title, text]) => `${'-'.repeat(78)}\n${title}\n\n${text}\n`)
    .join('\n');
}
