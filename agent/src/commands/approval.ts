/** How a person lets in a machine that waits, for a page. Whatever the collector said is printed safely. */
import type { WaitingClaim } from '../uplink/join.ts';
import { printable } from './wording.ts';

const REASONS = {
  new: 'No node has this name yet.',
  'same-machine': 'This machine is the node already, with another secret: it was installed anew.',
  'clone-or-replacement':
    'Another machine is the node of this name. Does this one replace it, or is it a copy that needs a name of its own?',
};

/** How a person lets a machine in. */
export function approval({ reason, machineCode, approveCommand, consoleUrl }: WaitingClaim): string[] {
  return [
    ...(reason === null ? [] : [`  ${REASONS[reason]}`]),
    ...(machineCode === '' || machineCode === 'unknown'
      ? []
      : [`  This machine: ${printable(machineCode)} (the collector must show the same)`]),
    ...(approveCommand === '' ? [] : [`  On the collector: ${printable(approveCommand)}`]),
    ...(consoleUrl === '' ? [] : [`  In the console: ${printable(consoleUrl)}`]),
  ];
}
