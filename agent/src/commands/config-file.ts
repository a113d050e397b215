/** Writing to the agent's configuration file, with what stands in the way put into a sentence. */
import { codeOf, configureFile, EXIT, OperationalFailure, type ConfigureFileOptions, type OptionChange } from '@tidemark/service';
import { AGENT_OPTIONS } from '../config.ts';

/** URLs in it may name users: root writes it, the agent's group reads it. */
const MODE = 0o640;
const HEADER = '# Configuration of tidemark-agent; what may stand here: tidemark-agent run --help\n';
/** Lists to which is added. */
const GROWING = ['postgres', 'http'];

/** Says what changed. Throws an OperationalFailure with every mistake, or when the file cannot be written. */
export function changeConfig({ file, ...what }: Pick<ConfigureFileOptions, 'file' | 'flags' | 'unset' | 'set'>): OptionChange[] {
  try {
    return configureFile('tidemark-agent', AGENT_OPTIONS, { file, ...what, grow: GROWING, mode: MODE, header: HEADER });
  } catch (error) {
    const code = codeOf(error);
    if (code === undefined || error instanceof OperationalFailure) throw error;
    const why =
      code === 'ENOENT' ? 'its directory is not there' : code === 'EACCES' || code === 'EPERM' ? 'this user may not write there' : code;
    throw new OperationalFailure(`${file} cannot be written: ${why}.`, EXIT.noRights, { cause: error });
  }
}
