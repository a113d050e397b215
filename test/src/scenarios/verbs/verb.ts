/** What a line of a scenario can do, as the files beside this one declare it: a form, what it means in one line, and how it is done. */
import type { Values } from '../language/forms.ts';
import type { World } from '../world/world.ts';

export interface Verb {
  readonly form: string;
  readonly means: string;
  /** The place that names a new server, where it makes one. */
  readonly makes?: string;
  /** Resolves when it is done, which may be before its effect is seen. */
  run(world: World, values: Values): Promise<void> | void;
}
