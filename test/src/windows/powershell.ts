/**
 * PowerShell scripts by their syntax tree, and the mistakes that such scripts are known to make: found by rules, since no PowerShell is to
 * be had where the tests run. Each rule is itself tested with an example that has the mistake.
 */
import { createRequire } from 'node:module';
import { Language, Parser, type Node } from 'web-tree-sitter';

const require = createRequire(import.meta.url);

export interface Script {
  readonly text: string;
  readonly root: Node;
}

/** Commands of both PowerShells that the scripts may use; whatever else is called has to be a function of the script's own. */
const CMDLETS = new Set(
  `Add-Type ConvertFrom-Json ConvertTo-Json Copy-Item Expand-Archive ForEach-Object Get-Acl Get-ChildItem Get-Content Get-FileHash Get-Item
  Get-ItemProperty Get-NetFirewallRule Get-Process Get-ScheduledTask Get-Service Invoke-WebRequest Join-Path Move-Item New-Item
  New-NetFirewallRule New-Object Out-Null Register-ScheduledTask Remove-Item Remove-NetFirewallRule Resolve-Path Select-Object Select-String
  Get-NetTCPConnection Measure-Object
  Set-Acl Set-Content Set-Service Sort-Object Split-Path Start-Process Start-ScheduledTask Start-Service Start-Sleep Stop-Process
  Stop-ScheduledTask Stop-Service Test-Path Unregister-ScheduledTask Where-Object Write-Error Write-Host Write-Output Write-Warning`
    .split(/\s+/)
    .map((name) => name.toLowerCase()),
);
/** Given by PowerShell; those it fills itself are not to be assigned. */
const AUTOMATIC = new Set(
  `_ args consolefilename error event eventargs eventsubscriber executioncontext false foreach home host input lastexitcode matches
  myinvocation nestedpromptlevel null pid profile psboundparameters pscmdlet pscommandpath psculture psdebugcontext pshome psitem
  psscriptroot psuiculture psversiontable pwd sender shellid stacktrace switch this true`.split(/\s+/),
);
const PREFERENCES = new Set(['erroractionpreference', 'progresspreference', 'warningpreference', 'verbosepreference']);
/** Parameters that Windows PowerShell 5.1 does not know. */
const ONLY_SEVEN =
  /^-(?:AsHashtable|SkipCertificateCheck|SkipHttpErrorCheck|Parallel|NoProxy|SslProtocol|MaximumRetryCount|RetryIntervalSec|AsByteStream)$/i;
/** Groups and accounts by names that are others in other languages. */
const ACCOUNT_NAMES =
  /^(?:.*\\)?(?:Administrators?|Users|Everyone|Authenticated Users|SYSTEM|Local ?Service|Network ?Service|Guests|Power Users)(?::.*)?$/i;
const SECRET_VARIABLE = /(?:token|secret|password|credential|apikey)$/i;

let loaded: Promise<Parser> | undefined;

async function parser(): Promise<Parser> {
  await Parser.init();
  const made = new Parser();
  made.setLanguage(await Language.load(require.resolve('tree-sitter-powershell/tree-sitter-powershell.wasm')));
  return made;
}

export async function parse(text: string): Promise<Script> {
  const tree = (await (loaded ??= parser())).parse(text);
  if (tree === null) throw new Error('the script could not be parsed');
  return { text, root: tree.rootNode };
}

function all(node: Node, ...types: string[]): Node[] {
  return node.descendantsOfType(types).filter((one) => one !== null);
}

const lineOf = (node: Node): number => node.startPosition.row + 1;
const shortOf = (node: Node): string => node.text.replace(/\s+/g, ' ').slice(0, 80);

export function commandsOf({ root }: Script): { name: string; node: Node; elements: string[] }[] {
  return all(root, 'command').map((node) => {
    const name = node.childForFieldName('command_name')?.text ?? '';
    const elements = (node.childForFieldName('command_elements')?.namedChildren ?? [])
      .filter((element) => element !== null)
      .filter((element) => element.type !== 'command_argument_sep')
      .map((element) => element.text);
    return { name, node, elements };
  });
}

export function functionsOf({ root }: Script): string[] {
  return all(root, 'function_name').map((node) => node.text);
}

/** What a string literal says; undefined for one that has something to be filled in. */
function literalOf(node: Node): string | undefined {
  const match = /^(?:'((?:[^']|'')*)'|"([^"$`]*)")$/.exec(node.text);
  return match === null ? undefined : (match[1]?.replaceAll("''", "'") ?? match[2]);
}

type Rule = (script: Script) => string[];
const at = (node: Node, what: string): string => `line ${lineOf(node)}: ${what}: ${shortOf(node)}`;

const RULES: Record<string, Rule> = {
  /** Both PowerShells' grammar; what only 7 has is an error here, but for the chains, which the grammar knows. */
  syntax: ({ root }) => {
    const wrong: Node[] = [];
    const walk = (node: Node): void => {
      if (node.isError || node.isMissing) wrong.push(node);
      else if (node.hasError) for (const child of node.children) if (child !== null) walk(child);
    };
    walk(root);
    return [
      ...wrong.map((node) => at(node, 'no PowerShell')),
      ...all(root, 'pipeline_chain_tail').map((node) => at(node, 'only PowerShell 7 has')),
    ];
  },
  ascii: ({ text }) =>
    text.split('\n').flatMap((line, i) => (/^[\t\r\x20-\x7e]*$/.test(line) ? [] : [`line ${i + 1}: not ASCII: ${line.slice(0, 80)}`])),
  /** An alias is another command on another machine (`sc`, `curl`); a program goes by its whole path; a typing error by nothing. */
  commands: (script) => {
    const own = new Set(functionsOf(script).map((name) => name.toLowerCase()));
    return commandsOf(script).flatMap(({ name, node }) => {
      if (name === '' || CMDLETS.has(name.toLowerCase()) || own.has(name.toLowerCase())) return [];
      const invoked = node.children.some((child) => child?.type === 'command_invokation_operator');
      // & "$env:SystemRoot\System32\sc.exe", & $Change
      if (invoked && /^(?:"\$env:SystemRoot\\[\w\\.]+\.exe"|\$\w+)$/.test(name)) return [];
      return [at(node, 'an alias, a bare program, or nothing that is known')];
    });
  },
  seven: (script) =>
    all(script.root, 'command_parameter').flatMap((node) => (ONLY_SEVEN.test(node.text) ? [at(node, 'only PowerShell 7 has')] : [])),
  basicParsing: (script) =>
    commandsOf(script).flatMap(({ name, node, elements }) =>
      /^Invoke-(?:WebRequest|RestMethod)$/i.test(name) && !elements.includes('-UseBasicParsing')
        ? [at(node, 'needs Internet Explorer in 5.1 without -UseBasicParsing')]
        : [],
    ),
  /** .NET before 4.7 does not offer TLS 1.2 by itself; assigned without -bor, it takes away what is better. */
  tls12: ({ text, root }) => {
    const assigned = all(root, 'assignment_expression').filter((node) =>
      /^\[(?:System\.)?Net\.ServicePointManager\]::SecurityProtocol/i.test(node.text),
    );
    if (assigned.length === 0 && /WebRequest|WebClient|Invoke-RestMethod|Start-BitsTransfer/i.test(text.replace(/^\s*#.*$/gm, '')))
      return ['it reaches out and never sets TLS 1.2'];
    return assigned.flatMap((node) =>
      /SecurityProtocol\s+-bor\s+(?:3072|\[[\w.]+\]::Tls12)/.test(node.text) ? [] : [at(node, 'not by -bor 3072')],
    );
  },
  accounts: ({ root }) => [
    ...all(root, 'string_literal').flatMap((node) => {
      const text = literalOf(node);
      return text !== undefined && ACCOUNT_NAMES.test(text) ? [at(node, 'an account by its name')] : [];
    }),
    ...all(root, 'type_literal').flatMap((node) => (/NTAccount/i.test(node.text) ? [at(node, 'an account by its name')] : [])),
    ...all(root, 'command').flatMap((node) => (/\bNTAccount\b/.test(node.text) ? [at(node, 'an account by its name')] : [])),
  ],
  /** Whatever is given to a program can be read by every user of the machine. */
  secrets: (script) => {
    const inCalls = commandsOf(script).flatMap(({ node }) => all(node, 'variable'));
    const parameters = all(script.root, 'script_parameter').flatMap((node) => all(node, 'variable').slice(0, 1));
    return [...inCalls, ...parameters].flatMap((node) => {
      const name = node.text.replace(/^\$\{?(?:\w+:)?/, '').replace(/\}$/, '');
      return SECRET_VARIABLE.test(name) ? [at(node, 'a secret among arguments')] : [];
    });
  },
  /** C:\Program.exe is what Windows starts for an unquoted C:\Program Files\…. */
  servicePaths: ({ text, root }) => {
    const wrong = all(root, 'command').filter(
      (node) => /^New-Service\b/i.test(node.text) && !/-BinaryPathName\s+(?:\('"'|'"|\$quoted)/i.test(node.text),
    );
    const given = [...text.matchAll(/'binPath=',\s*(\S+?)[,)]/g)].filter(
      ([, value]) => !(value!.startsWith('$') && new RegExp(`\\${value!} = '"' \\+ [^\\n]+ \\+ '"'`).test(text)),
    );
    return [
      ...wrong.map((node) => at(node, 'a path without quotation marks')),
      ...given.map(([whole]) => `a path without quotation marks: ${whole}`),
    ];
  },
  /** Write-Host "x".Trim() writes x.Trim(). */
  methods: ({ text }) =>
    [...text.matchAll(/^.*\b\w+-\w+ [^()|;{}'\n]*"\.\w+\(.*$/gm)].map(
      ([line]) => `a method of a string among arguments: ${line.trim().slice(0, 80)}`,
    ),
  automatic: ({ root }) =>
    all(root, 'left_assignment_expression').flatMap((node) => {
      const name = /^\$(\w+)$/.exec(node.text)?.[1]?.toLowerCase();
      return name !== undefined && AUTOMATIC.has(name) ? [at(node, "one of PowerShell's own variables is assigned")] : [];
    }),
  /** A name that is never given a value is a typing error. */
  variables: (script) => {
    const plain = (text: string): string =>
      text
        .replace(/^[$@]\{?/, '')
        .replace(/\}$/, '')
        .replace(/^(?:script|global|local):/i, '')
        .toLowerCase();
    const assigned = new Set<string>([...AUTOMATIC, ...PREFERENCES]);
    for (const node of all(script.root, 'left_assignment_expression'))
      for (const one of all(node, 'variable')) assigned.add(plain(one.text));
    for (const node of all(script.root, 'script_parameter')) assigned.add(plain(all(node, 'variable')[0]?.text ?? ''));
    for (const node of all(script.root, 'foreach_statement'))
      assigned.add(plain(node.children.find((child) => child?.type === 'variable')?.text ?? ''));
    return all(script.root, 'variable').flatMap((node) => {
      const name = plain(node.text);
      return assigned.has(name) || name.startsWith('env:') ? [] : [at(node, 'never assigned')];
    });
  },
};
export type RuleName = keyof typeof RULES;

/** Every mistake that the rules find, each with its rule's name. */
export function mistakesIn(script: Script): { rule: string; what: string }[] {
  return Object.entries(RULES).flatMap(([rule, find]) => find(script).map((what) => ({ rule, what })));
}

/** What stands at the top level, by its kind. */
export function statementsOf({ root }: Script): { type: string; text: string }[] {
  return root.namedChildren
    .filter((node) => node !== null)
    .flatMap((node) => (node.type === 'statement_list' ? node.namedChildren.filter((child) => child !== null) : [node]))
    .filter((node) => node.type !== 'comment')
    .map((node) => ({ type: node.type, text: node.text }));
}
