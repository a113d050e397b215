/**
 * The finished commands that install an agent, for the command line and the console alike. No secret is ever part of a command: the
 * enrolment string goes into a file that only its owner can read.
 */
import { parseEnrolment } from './enrolment-string.ts';

/** One word for a POSIX shell, whatever is in it. */
export function shellWord(text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** One word for PowerShell, whatever is in it: it takes typographic quotes for quotes too. */
export function powershellWord(text: string): string {
  return `'${text.replaceAll(/['\u2018\u2019\u201a\u201b]/g, '$&$&')}'`;
}

/** What lets a machine in on the collector; with its code it is about that machine alone. */
export function approveCommand(name: string, machineCode?: string): string {
  return `tidemark-collector nodes approve ${shellWord(name)}${machineCode === undefined ? '' : ` --machine ${machineCode}`}`;
}

export interface InstallCommands {
  linux: string;
  windows: string;
}

/** The name in the commands for "what the machine is called". */
const LINUX_NAME = '"$(hostname)"';
const WINDOWS_NAME = '$env:COMPUTERNAME';

/**
 * Commands to paste on the machine, all at once: each is one statement to its shell, which reads the whole of it before the first
 * part asks for the enrolment string, and stops at the first part that fails.
 * @param address the collector's address as the machine reaches it, path included
 * @param enrolment the enrolment string that the person has in hand; undefined for machines that ask to be approved
 * @param name what the node is to be called; what the machine is called unless given
 */
export function installCommands(address: string, enrolment?: string, name?: string): InstallCommands {
  const url = address.replace(/\/+$/, '');
  const fingerprint = enrolment === undefined ? undefined : parseEnrolment(enrolment)?.fingerprint;
  return {
    linux: linuxCommands(url, enrolment !== undefined, fingerprint, name),
    windows: windowsCommands(url, enrolment !== undefined, fingerprint, name),
  };
}

/** With an authority of the collector's own its certificate is fetched first, and is taken for true only when it has the fingerprint. */
function linuxCommands(url: string, hasToken: boolean, fingerprint: string | undefined, name: string | undefined): string {
  const downloads = `${url}/documentation/downloads`;
  const script = shellWord(`${downloads}/agent-install-linux.sh`);
  return [
    ...(hasToken ? [`(umask 077; printf 'Enrolment string: '; read -r string; printf '%s\\n' "$string" > enrolment-token)`] : []),
    ...(fingerprint === undefined
      ? [`curl -fsSo agent-install-linux.sh ${script}`]
      : [
          `curl -fsSko tidemark-ca.pem ${shellWord(`${downloads}/ca.pem`)}`,
          `{ openssl x509 -in tidemark-ca.pem -outform der | sha256sum | grep -q ^${fingerprint} || { echo 'This is not the collector that made the enrolment string.'; false; }; }`,
          `curl -fsSo agent-install-linux.sh --cacert tidemark-ca.pem ${script}`,
        ]),
    'chmod +x agent-install-linux.sh',
    [
      `sudo ./agent-install-linux.sh --server ${shellWord(url)} --hostname ${name === undefined ? LINUX_NAME : shellWord(name)} --interval 60`,
      ...(hasToken ? ['--token-file ./enrolment-token'] : []),
    ].join(' '),
  ].join(' &&\n');
}

function windowsCommands(url: string, hasToken: boolean, fingerprint: string | undefined, name: string | undefined): string {
  const downloads = `${url}/documentation/downloads`;
  const script = powershellWord(`${downloads}/agent-install-windows.ps1`);
  const lines = [
    "$ErrorActionPreference = 'Stop'",
    ...(hasToken ? ['Read-Host \'Enrolment string\' | Set-Content -Encoding Ascii "$env:TEMP\\enrolment-token"'] : []),
    ...(fingerprint === undefined
      ? [
          '[Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor 3072',
          `Invoke-WebRequest -UseBasicParsing -Uri ${script} -OutFile agent-install-windows.ps1`,
        ]
      : [
          `curl.exe -fsSko tidemark-ca.pem ${powershellWord(`${downloads}/ca.pem`)}`,
          "if ($LASTEXITCODE) { throw 'The certificate of the collector cannot be fetched.' }",
          '$ca = New-Object Security.Cryptography.X509Certificates.X509Certificate2 "$pwd\\tidemark-ca.pem"',
          "$sum = -join ([Security.Cryptography.SHA256]::Create().ComputeHash($ca.RawData) | ForEach-Object { $_.ToString('x2') })",
          `if ($sum -ne '${fingerprint}') { throw 'This is not the collector that made the enrolment string.' }`,
          `curl.exe -fsSo agent-install-windows.ps1 --ssl-no-revoke --cacert tidemark-ca.pem ${script}`,
          "if ($LASTEXITCODE) { throw 'The installer cannot be fetched.' }",
        ]),
    [
      `powershell -ExecutionPolicy Bypass -File .\\agent-install-windows.ps1 -Server ${powershellWord(url)} -HostName ${name === undefined ? WINDOWS_NAME : powershellWord(name)} -Interval 60`,
      ...(hasToken ? ['-TokenFile "$env:TEMP\\enrolment-token"'] : []),
    ].join(' '),
  ];
  return `& {\n${lines.map((line) => `  ${line}`).join('\n')}\n}`;
}
