/**
 * The observation "inventory" (version 1): what a machine is. Nothing in it changes from minute to minute,
 * for an observation is stored each time it differs from the one before.
 */
import { Type, type Static } from 'typebox';

const MaybeString = Type.Union([Type.String(), Type.Null()]);
export const INVENTORY = 'inventory';

export const Inventory = Type.Object({
  hostname: Type.String(),
  os: Type.Object({
    platform: Type.String({ description: 'linux, win32 or darwin' }),
    name: Type.String({ description: 'For people: "Debian GNU/Linux 12 (bookworm)".' }),
    id: MaybeString,
    version: MaybeString,
    kernel: Type.String(),
    architecture: Type.String({ description: 'As uname names it: "x86_64".' }),
  }),
  cpu: Type.Object({ model: MaybeString, cores: Type.Integer({ description: 'Logical CPUs that are online.' }) }),
  memoryTotalBytes: Type.Number(),
  hardware: Type.Object({ vendor: MaybeString, product: MaybeString }),
  virtualisation: Type.Object({
    kind: Type.Union([Type.Literal('none'), Type.Literal('vm'), Type.Literal('container'), Type.Literal('unknown')]),
    technology: MaybeString,
  }),
  addresses: Type.Array(
    Type.Object({ interface: Type.String(), family: Type.String({ description: 'IPv4 or IPv6' }), address: Type.String() }),
    {
      description: 'Without loopback and link-local ones.',
    },
  ),
  runtime: Type.Object({ name: Type.String(), version: Type.String() }),
  timezone: Type.String({ description: 'IANA name: "Europe/Berlin".' }),
});
export type Inventory = Static<typeof Inventory>;
