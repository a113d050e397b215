/** Programs whose wall clock a test sets while they run (libfaketime); the clock that nobody sets is left alone. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** The environment of a program whose clock is shifted by what `shiftFile` says, for example "-1h". */
export function fakeTime(shiftFile: string): Record<string, string> {
  return {
    LD_PRELOAD: fakeTimeLibrary(),
    FAKETIME_TIMESTAMP_FILE: shiftFile,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    FAKETIME_DONT_RESET: '1',
    // Times of files stay true.
    NO_FAKE_STAT: '1',
  };
}

function fakeTimeLibrary(): string {
  for (const place of ['/usr/lib', '/usr/lib64', '/usr/local/lib'])
    for (const triple of ['', ...readdirSync(place)]) {
      const file = join(place, triple, 'faketime', 'libfaketime.so.1');
      try {
        readdirSync(join(file, '..'));
        return file;
      } catch {
        // Not there.
      }
    }
  throw new Error('libfaketime is not installed: apt-get install faketime');
}
