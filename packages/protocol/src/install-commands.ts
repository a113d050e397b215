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

export interface InstallCommands {
  linux: string;
  windows: string;
}

/** The name in the commands for "what the machine is called". */
const LINUX_NAME = '"$(hostname)"';
const WINDOWS_NAME = '$env:COMPUTERNAME';

/**
 * Commands to paste on the machine.
 * @param address the collector's address as the machine reaches it, path included
 * @param enrolment the enrolment string that the person has in hand; undefined for machines that ask to be approved
 * @param name what the node is to be called; what the machine is called unless given
 */
export function installCommands(address: string, enrolment?: string, name?: string): InstallCommands {
  const url = address.replace(/\/+$/, '');
  const fingerprint = enrolment === undefined ? undefined : parseEnrolment(enrolment)?.fingerprint;
  const linux = [
    ...(enrolment === undefined ? [] : [`(umask 077; cat > enrolment-token)   # paste the enrolment string, Enter, Ctrl-D`]),
    ...linuxDownload(`${url}/documentation/downloads`, fingerprint),
    'chmod +x agent-install-linux.sh',
    [
      `sudo ./agent-install-linux.sh --server ${shellWord(url)} --hostname ${name === undefined ? LINUX_NAME : shellWord(name)} --interval 60`,
      ...(enrolment === undefined ? [] : ['--token-file ./enrolment-token']),
    ].join(' '),
  ];
  const windows = [
    ...(enrolment === undefined
      ? []
      : ['Read-Host "Paste the enrolment string" | Set-Content -Encoding Ascii "$env:TEMP\\enrolment-token"   # as administrator']),
    ...windowsDownload(`${url}/documentation/downloads`, fingerprint),
    [
      `powershell -ExecutionPolicy Bypass -File .\\agent-install-windows.ps1 -Server ${powershellWord(url)} -HostName ${name === undefined ? WINDOWS_NAME : powershellWord(name)} -Interval 60`,
      ...(enrolment === undefined ? [] : ['-TokenFile "$env:TEMP\\enrolment-token"']),
    ].join(' '),
  ];
  return { linux: linux.join('\n'), windows: windows.join('\n') };
}

/** With an authority of the collector's own its certificate is fetched first, and is taken for true only when it has the fingerprint. */
function linuxDownload(downloads: string, fingerprint: string | undefined): string[] {
  const script = shellWord(`${downloads}/agent-install-linux.sh`);
  if (fingerprint === undefined) return [`curl -fsSo agent-install-linux.sh ${script}`];
  return [
    `curl -fsSko tidemark-ca.pem ${shellWord(`${downloads}/ca.pem`)}`,
    `openssl x509 -in tidemark-ca.pem -outform der | sha256sum | grep -q ^${fingerprint} && curl -fsSo agent-install-linux.sh --cacert tidemark-ca.pem ${script}`,
  ];
}

function windowsDownload(downloads: string, fingerprint: string | undefined): string[] {
  const script = powershellWord(`${downloads}/agent-install-windows.ps1`);
  const tls = '[Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor 3072';
  if (fingerprint === undefined) return [tls, `Invoke-WebRequest -UseBasicParsing -Uri ${script} -OutFile agent-install-windows.ps1`];
  return [
    `curl.exe -fsSko tidemark-ca.pem ${powershellWord(`${downloads}/ca.pem`)}`,
    '$ca = New-Object Security.Cryptography.X509Certificates.X509Certificate2 "$pwd\\tidemark-ca.pem"',
    "$sum = -join ([Security.Cryptography.SHA256]::Create().ComputeHash($ca.RawData) | ForEach-Object { $_.ToString('x2') })",
    `if ($sum -eq '${fingerprint}') { curl.exe -fsSo agent-install-windows.ps1 --ssl-no-revoke --cacert tidemark-ca.pem ${script} } else { throw 'This is not the collector that made the enrolment string.' }`,
  ];
}
