/**
 * The PowerShell scripts, read by PowerShell's grammar: whole, for Windows PowerShell 5.1 as for 7, without the mistakes that such scripts
 * are known for; harmless when cut off; with the exit codes of all of Tidemark; and what stands in them for other programs (JavaScript,
 * XML, quoting) tried with those.
 */
import { execFile } from 'node:child_process';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { EXIT } from '@tidemark/service';
import { describe, expect, onTestFinished, test } from 'vitest';
import { functionsOf, mistakesIn, parse, statementsOf } from './powershell.ts';

const run = promisify(execFile);
const directory = fileURLToPath(new URL('../../../installers/windows/', import.meta.url));
const scripts = readdirSync(directory).filter((name) => name.endsWith('.ps1'));
const read = (name: string): string => readFileSync(join(directory, name), 'utf8');
const INSTALL = 'agent-install-windows.ps1';
const UNINSTALL = 'agent-uninstall-windows.ps1';

test.each(scripts)('%s has none of the known mistakes', async (name) => {
  expect(mistakesIn(await parse(read(name)))).toEqual([]);
});

describe('each mistake is found', () => {
  test.each([
    ['syntax', 'if ($args) { Write-Host 1'],
    ['syntax', '$a = $args ? 1 : 2'],
    ['syntax', '$a = $null ?? 1'],
    ['syntax', 'Write-Host 1 && Write-Host 2'],
    ['ascii', 'Write-Host "Größe"'],
    ['commands', 'sc create X binPath= C:\\x.exe'],
    ['commands', 'curl -o x http://x'],
    ['commands', 'wget http://x'],
    ['commands', 'sc.exe create X'],
    ['commands', 'Get-ChildItem | % { $_ }'],
    ['commands', 'Get-Contnet x'],
    ['commands', '& "C:\\Tools\\x.exe" y'],
    ['seven', 'Invoke-WebRequest -UseBasicParsing -SkipCertificateCheck -Uri http://x'],
    ['basicParsing', 'Invoke-WebRequest -Uri http://x -OutFile y'],
    ['tls12', 'Invoke-WebRequest -UseBasicParsing -Uri https://x'],
    ['tls12', '[Net.ServicePointManager]::SecurityProtocol = 3072'],
    ['accounts', "Set-Acl x 'Administrators'"],
    ['accounts', "Start-Process icacls.exe 'x', '/grant', 'BUILTIN\\Users:F'"],
    ['accounts', 'New-Object Security.Principal.NTAccount "x"'],
    ['accounts', '$x = [Security.Principal.NTAccount]"x"'],
    ['secrets', '$token = Get-Content x; Start-Process x.exe $token'],
    ['secrets', 'param([string]$Password)'],
    ['servicePaths', "Write-Host @('create', 'X', 'binPath=', $args)"],
    ['servicePaths', 'New-Service -Name X -BinaryPathName $env:ProgramFiles\\x.exe'],
    ['methods', '$x = 1; Write-Host "$x ".Trim()'],
    ['automatic', '$host = 1'],
    ['automatic', '$input = 1'],
    ['variables', '$one = 1; Write-Host $onr'],
    ['variables', '$script:One = 1; Write-Host "$($script:Onr)"'],
  ])('%s: %s', async (rule, text) => {
    expect(mistakesIn(await parse(text)).map((mistake) => mistake.rule)).toContain(rule);
  });

  test('and what is right is left alone', async () => {
    const text = `
      param([string]$TokenFile)
      function Get-It([string]$Path) { & "$env:SystemRoot\\System32\\sc.exe" query $Path | Out-Null }
      [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor 3072
      foreach ($one in Get-ChildItem) { Get-It $one }
      Invoke-WebRequest -UseBasicParsing -Uri https://x -OutFile $TokenFile`;
    expect(mistakesIn(await parse(text))).toEqual([]);
  });
});

describe.each([INSTALL, UNINSTALL])('%s', (name) => {
  test('cut off anywhere it runs nothing: only definitions stand before its end', async () => {
    const statements = statementsOf(await parse(read(name)));
    const begin = statements.findIndex(({ type }) => type === 'try_statement');
    expect(begin).toBe(statements.length - 2);
    expect(statements.at(-1)!.text).toMatch(/^exit \$/);
    for (const { type, text } of statements.slice(0, begin)) {
      if (type === 'function_statement' || type === 'param_block') continue;
      // Values, and nothing that is called for them.
      expect(text).toMatch(/^\$[\w:]+ = /);
      const called = await parse(text);
      expect(called.root.descendantsOfType('command')).toEqual([]);
    }
  });

  test('a half of it is no script, or one that does nothing', async () => {
    const text = read(name);
    for (let part = 1; part < 40; part++) {
      const cut = text.slice(0, Math.floor((text.length * part) / 40));
      const script = await parse(cut);
      const ends = statementsOf(script).some((statement) => statement.type === 'try_statement' && statement.text.includes('Invoke-Main'));
      expect(ends && !script.root.hasError).toBe(false);
    }
  });

  test('every function of its own is called', async () => {
    const text = read(name);
    for (const own of functionsOf(await parse(text))) {
      // What both scripts have in common may be of use to one of them.
      expect(`${own}: ${text.split(new RegExp(`\\b${own}\\b`)).length - 1 >= 2}`).toBe(`${own}: true`);
    }
  });

  test('every exit code that its help names, and no other, is Tidemark’s', () => {
    const help = /Exit codes:\n([\s\S]*?)\n'@/.exec(read(name))![1]!;
    const codes = help.split('\n').map((line) => Number(/^ {1,3}(\d+) {2}\S/.exec(line)?.[1]));
    expect(codes.length).toBeGreaterThan(4);
    for (const code of codes) expect(Object.values(EXIT)).toContain(code);
    if (name !== INSTALL) return;
    const table = /\$Exit = @\{([\s\S]*?)\n\}/.exec(read(name))![1]!;
    const entries = [...table.matchAll(/(\w+) = (\d+)/g)].map(([, key, code]) => [key, Number(code)]);
    for (const [key, code] of entries) expect([key, EXIT[key as keyof typeof EXIT]]).toEqual([key, code]);
    // There is no C library to be too old on Windows.
    expect(codes.toSorted((a, b) => a - b)).toEqual(entries.map(([, code]) => code).filter((code) => code !== EXIT.glibcTooOld));
  });

  test('every code that it ends with is in its table', () => {
    const text = read(name);
    const used = [...text.matchAll(/Stop-(?:With|Program \$done) '(\w+)'|\bName = '(\w+)'/g)].map(([, one, two]) => one ?? two!);
    for (const one of used) expect(Object.keys(EXIT)).toContain(one);
    expect(used.length > 20 || name === UNINSTALL).toBe(true);
  });
});

const removalIn = (text: string): string => /# >>> removal\n([\s\S]*?)# <<< removal/.exec(text)![1]!;

test('both remove the agent by the same words', () => {
  expect(removalIn(read(INSTALL))).toBe(removalIn(read(UNINSTALL)));
  expect(removalIn(read(INSTALL)).length).toBeGreaterThan(1_000);
});

test('the SID of the service’s account is the one that Windows makes of its name', () => {
  const sidOf = (service: string): string => {
    const hash = createHash('sha1').update(Buffer.from(service.toUpperCase(), 'utf16le')).digest();
    return `S-1-5-80-${[0, 4, 8, 12, 16].map((offset) => hash.readUInt32LE(offset)).join('-')}`;
  };
  // Known of every Windows.
  expect(sidOf('TrustedInstaller')).toBe('S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464');
  expect(removalIn(read(INSTALL))).toContain(`$ServiceSid = '${sidOf('TidemarkAgent')}'`);
});

describe('what the collector writes in', () => {
  const PLACEHOLDERS = ['URL', 'KEY', 'RUNTIMES', 'FINGERPRINT', 'VERSION', 'NODE'];

  test('each placeholder stands once, alone in an assignment', () => {
    const text = read(INSTALL);
    for (const name of PLACEHOLDERS) {
      expect(text.match(new RegExp(`^\\$Tidemark\\w+ = '@TIDEMARK_${name}@'$`, 'gm'))).toHaveLength(1);
      expect(text.split(`@TIDEMARK_${name}@`)).toHaveLength(2);
    }
    expect(text.match(/@TIDEMARK_/g)).toHaveLength(PLACEHOLDERS.length);
  });

  test('filled in, the script is whole', async () => {
    const filled = read(INSTALL)
      .replace('@TIDEMARK_URL@', 'https://tidemark.example/prefix')
      .replace('@TIDEMARK_KEY@', `${'A'.repeat(43)}=`)
      .replace('@TIDEMARK_RUNTIMES@', `${'0'.repeat(64)} a.zip;${'1'.repeat(64)} b.tar.xz`);
    expect(mistakesIn(await parse(filled))).toEqual([]);
  });
});

test('the check of the signature, run as the script runs it, believes the key and nothing else', async () => {
  const made = /\$check = ((?:'(?:[^']|'')*'(?: \+\s*)?)+)/.exec(read(INSTALL))![1]!;
  const program = [...made.matchAll(/'((?:[^']|'')*)'/g)].map(([, part]) => part!.replaceAll("''", "'")).join('');
  const home = mkdtempSync(join(tmpdir(), 'tidemark-signature-'));
  onTestFinished(() => rmSync(home, { recursive: true }));
  const sums = join(home, 'SHA256SUMS');
  const [ours, theirs] = [generateKeyPairSync('ed25519'), generateKeyPairSync('ed25519')];
  const keyOf = ({ publicKey }: typeof ours): string => publicKey.export({ format: 'der', type: 'spki' }).subarray(-32).toString('base64');
  const verdict = (key: string): Promise<number> =>
    run(process.execPath, ['-e', program, sums, `${sums}.sig`, key]).then(
      () => 0,
      (error: { code: number }) => error.code,
    );
  writeFileSync(sums, 'rows\n');
  writeFileSync(`${sums}.sig`, sign(null, readFileSync(sums), ours.privateKey));
  expect(await verdict(keyOf(ours))).toBe(0);
  expect(await verdict(keyOf(theirs))).toBe(1);
  expect(await verdict('no key')).toBe(1);
  writeFileSync(sums, 'rows\nmore\n');
  expect(await verdict(keyOf(ours))).toBe(1);
});

test('arguments of programs are quoted by the rules of Windows', () => {
  // The two replacements of ConvertTo-Argument, whose regular expressions mean the same here.
  const found = /-replace '(.+?)', '(.+?)'\) -replace '(.+?)', '(.+?)'\) \+ '"'/.exec(read(INSTALL))!;
  const quote = (text: string): string =>
    text !== '' && !/[\s"]/.test(text)
      ? text
      : `"${text.replaceAll(new RegExp(found[1]!, 'g'), found[2]!).replaceAll(new RegExp(found[3]!, 'g'), found[4]!)}"`;
  for (const word of [
    'plain',
    '',
    'two words',
    'C:\\Program Files\\',
    'a "quoted" word',
    'ends with \\"',
    'a\\\\b c\\\\',
    '"',
    '\\',
    '\\\\ ',
  ]) {
    expect(parseCommandLine(`program ${quote(word)} next`)).toEqual(['program', word, 'next']);
  }
});

/** As CommandLineToArgvW does it. */
function parseCommandLine(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quoted = false;
  for (let i = 0; i < line.length;) {
    const slashes = /^\\*/.exec(line.slice(i))![0].length;
    if (line[i + slashes] === '"') {
      word = (word ?? '') + '\\'.repeat(Math.floor(slashes / 2));
      if (slashes % 2 === 1) word += '"';
      else quoted = !quoted;
      i += slashes + 1;
    } else if (slashes > 0) {
      word = (word ?? '') + '\\'.repeat(slashes);
      i += slashes;
    } else if (/\s/.test(line[i]!) && !quoted) {
      if (word !== undefined) words.push(word);
      word = undefined;
      i++;
    } else {
      word = (word ?? '') + line[i++];
    }
  }
  return word === undefined ? words : [...words, word];
}

test('the scheduled task is XML, of an account by its SID, without an end', async () => {
  const xml = /\$xml = @"\n([\s\S]*?)\n"@/
    .exec(read(INSTALL))![1]!
    .replace('$LocalServiceSid', 'S-1-5-19')
    .replace('$program', 'C:\\node.exe')
    .replace('$text', '&quot;C:\\Program Files\\x&quot; run');
  expect(xml).not.toContain('$');
  const script =
    'import sys, xml.dom.minidom as m; d = m.parseString(sys.argv[1]); print([d.getElementsByTagName(t)[0].firstChild.data for t in ("UserId", "ExecutionTimeLimit", "MultipleInstancesPolicy")])';
  const { stdout } = await run('python3', ['-c', script, xml]);
  expect(stdout.trim()).toBe("['S-1-5-19', 'PT0S', 'IgnoreNew']");
});

/** The text of one function of the agent's installer. */
function functionOf(name: string): string {
  const found = new RegExp(`^function ${name}\\b[\\s\\S]*?^}`, 'm').exec(read(INSTALL))?.[0];
  if (found === undefined) throw new Error(`there is no function ${name}`);
  return found;
}
const inOrder = (text: string, ...parts: readonly string[]): void => {
  const places = parts.map((part) => text.indexOf(part));
  expect(places, parts.filter((_, i) => places[i]! < 0).join(', ')).not.toContain(-1);
  expect(places).toEqual(places.toSorted((a, b) => a - b));
};

test('what was put into an open folder is looked at once the folder is closed, before its rights are set', () => {
  inOrder(functionOf('New-DataFolder'), 'AreAccessRulesProtected', 'Set-FolderRights $Data', 'Test-Planted', "'agent', 'logs'");
  expect(functionOf('Test-Planted')).toContain('ReparsePoint');
});

test('an upgrade that was cut off is undone before anything is read or thrown away', () => {
  inOrder(functionOf('Install-Agent'), 'Restore-CutOff', 'Read-Installed', 'New-Staging', 'Save-Before');
  inOrder(functionOf('Save-Before'), 'Copy-Item', "'version'");
  inOrder(functionOf('Restore-CutOff'), 'agent.token', 'Stop-Agent', 'Restore-Before', 'Set-Current $name', 'Start-Agent', 'Remove-Item');
  inOrder(functionOf('Complete-Installation'), 'Confirm-Start', 'Remove-Item', 'Remove-Old');
});

test('what a stranger answers moves no cursor', () => {
  expect(functionOf('Add-Answer')).toContain("$problem.detail -replace '[\\x00-\\x1f\\x7f-\\x9f]', ' '");
});
