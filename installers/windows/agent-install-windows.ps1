# Installs, upgrades and removes the Tidemark agent on a Windows machine. Needs no internet and no Node.js: everything comes from the
# collector that served this script, which wrote its address and its key into the lines below. Only functions are defined before the last
# line, so that a copy that was cut off anywhere runs nothing. Windows PowerShell 5.1 and PowerShell 7, Server Core included; ASCII only,
# since 5.1 reads a file without a mark in the machine's own code page. No secret ever stands on a command line.
param(
    [string]$Server, [string]$HostName, [string]$Interval, [string]$Site, [string[]]$Tag, [string]$TokenFile, [string[]]$Postgres,
    [string]$CaFile, [string]$Proxy, [string]$Version,
    [switch]$Update, [switch]$NoStart, [switch]$DryRun, [switch]$Uninstall, [switch]$Purge, [switch]$Help
)
$TidemarkUrl = '@TIDEMARK_URL@'
$TidemarkKey = '@TIDEMARK_KEY@'
$TidemarkRuntimes = '@TIDEMARK_RUNTIMES@'
$TidemarkFingerprint = '@TIDEMARK_FINGERPRINT@'
$TidemarkVersion = '@TIDEMARK_VERSION@'
$TidemarkNode = '@TIDEMARK_NODE@'

# The same numbers as everywhere in Tidemark: docs/reference/installer.md.
$Exit = @{
    ok = 0; failed = 1; usage = 2
    unsupportedSystem = 10; glibcTooOld = 11; noRoom = 12; noRights = 13; downloadFailed = 14; checksumWrong = 15; signatureWrong = 16
    nameUnknown = 20; connectionRefused = 21; tlsFailed = 22; notACollector = 23
    serviceNotStarted = 30; notConfirmed = 31; rolledBack = 32; credentialRejected = 33; installationUnderWay = 34
    configuration = 78
}

$HelpText = @'
Installs the Tidemark agent on this machine, or upgrades it when it is there: what is not given stays as it is.

  .\agent-install-windows.ps1 -Server URL [options]          in a PowerShell of an administrator

  -Server URL        the collector: http://HOST:5000 or https://HOST (default: the one this script came from)
  -HostName NAME     what this node is called (default: the machine's name)
  -Interval SECONDS  between two reports, 1 to 3600
  -Site NAME         where this node stands
  -Tag KEY=VALUE     a tag of this node; several: -Tag role=db,env=production
  -TokenFile FILE    the enrolment string of `tidemark-collector enroll` or of the console (deleted once it was used), or a node's token
  -Postgres auto     make a least-privilege role in the PostgreSQL servers of this machine, and watch them
  -Postgres URL      watch this one: postgres://user@host:5432/database, without a password; several with commas
  -CaFile FILE       certificate authority (PEM) that vouches for the collector
  -Proxy URL         HTTP proxy between this machine and the collector: http://HOST:PORT
  -Version VERSION   refuse to install any other version
  -Update            upgrade and change nothing else
  -NoStart           install, and do not start it
  -DryRun            say each step and change nothing
  -Uninstall         remove the program; its configuration, secret and waiting reports stay
  -Purge             with -Uninstall: remove these as well
  -Help              this

Without an enrolment string the node asks to join, and waits until someone approves it in the console or with
`tidemark-collector nodes approve NAME`. Its reports wait on this machine meanwhile. After an upgrade that does not report within
60 seconds (environment: TIDEMARK_CONFIRM_SECONDS) the version before is put back.

Examples:
  Invoke-WebRequest -UseBasicParsing -Uri http://192.168.1.10:5000/documentation/downloads/agent-install-windows.ps1 -OutFile agent-install-windows.ps1
  .\agent-install-windows.ps1 -Server "http://192.168.1.10:5000" -HostName "minusnow-db" -Interval 60
  .\agent-install-windows.ps1 -TokenFile .\enrolment.txt -Site berlin -Tag role=db -Postgres auto
  .\agent-install-windows.ps1 -Uninstall -Purge
  powershell.exe -NoProfile -ExecutionPolicy Bypass -File agent-install-windows.ps1 -Update

Exit codes:
   0  done; a report was confirmed by the collector, or the node waits for approval and that was said
   1  something else failed; what, stands above
   2  wrong usage
  10  this system or processor is not supported
  12  not enough room
  13  not an administrator, or a folder that somebody else has made
  14  the download failed
  15  a wrong checksum
  16  a wrong signature
  20  the collector's name is unknown to DNS
  21  no connection to the collector
  22  TLS to the collector failed
  23  what answers there is not a Tidemark collector
  30  the service did not start
  31  the collector has not confirmed a report in time
  32  the new version did not report, the version before was put back
  33  the collector rejects the enrolment string or the secret
  34  another installation is under way
  78  the configuration is wrong
'@

# ------------------------------------------------------------------------------------------------ what is said

function Write-Step([string]$Text) { Write-Host "==> $Text" }
function Write-Detail([string]$Text) { Write-Host "    $Text" }
function Write-Trouble([string]$Text) { Write-Host "agent-install-windows.ps1: $Text" -ForegroundColor Yellow }

# Ends the script with a code of its own and one sentence; what was begun is undone by the blocks that this passes through.
function Stop-With([string]$Name, [string]$Sentence) {
    $script:ExitCode = $Exit[$Name]
    $script:Sentence = $Sentence
    throw $Sentence
}

# ------------------------------------------------------------------------------------------------ programs

# By the rules of CommandLineToArgvW: PowerShell 5.1 and 7 pass quotation marks on in different ways, so neither is asked to.
function ConvertTo-Argument([string]$Text) {
    if ($Text -ne '' -and $Text -notmatch '[\s"]') { return $Text }
    '"' + (($Text -replace '(\\*)"', '$1$1\"') -replace '(\\+)$', '$1$1') + '"'
}

# Runs a program to its end; gives Code, Output and Errors. Nothing secret may be among the arguments: every user can read them.
function Invoke-Program([string]$File, [string[]]$Arguments, [int]$TimeoutSeconds = 120) {
    $info = New-Object System.Diagnostics.ProcessStartInfo
    $info.FileName = $File
    $info.Arguments = (@($Arguments) | ForEach-Object { ConvertTo-Argument $_ }) -join ' '
    $info.UseShellExecute = $false
    $info.CreateNoWindow = $true
    $info.RedirectStandardInput = $true
    $info.RedirectStandardOutput = $true
    $info.RedirectStandardError = $true
    # What the machine sets for Node.js, or for Tidemark, is not meant for an installation.
    foreach ($name in @($info.EnvironmentVariables.Keys)) {
        if ($name -like 'NODE_*' -or $name -like 'TIDEMARK_*') { $info.EnvironmentVariables.Remove($name) }
    }
    if ([IO.Path]::GetFileName($File) -eq 'node.exe') {
        $info.StandardOutputEncoding = New-Object System.Text.UTF8Encoding $false
        $info.StandardErrorEncoding = New-Object System.Text.UTF8Encoding $false
    }
    $process = [System.Diagnostics.Process]::Start($info)
    try {
        $process.StandardInput.Close()
        $output = $process.StandardOutput.ReadToEndAsync()
        $errors = $process.StandardError.ReadToEndAsync()
        if (-not $process.WaitForExit($TimeoutSeconds * 1000)) {
            $process.Kill()
            return New-Object PSObject -Property @{ Code = -1; Output = ''; Errors = "took longer than $TimeoutSeconds s" }
        }
        New-Object PSObject -Property @{ Code = $process.ExitCode; Output = $output.Result; Errors = $errors.Result }
    }
    finally { $process.Dispose() }
}

# sc.exe by its whole path and name: `sc` alone means Set-Content here.
function Invoke-ServiceControl([string[]]$Arguments) {
    $done = Invoke-Program (Join-Path $env:SystemRoot 'System32\sc.exe') $Arguments
    if ($done.Code -ne 0) {
        Stop-With 'serviceNotStarted' "Windows refused a change of the service (sc.exe $($Arguments[0]), code $($done.Code)): $($done.Output.Trim())"
    }
}

# The agent's own command, of the version that is to be installed.
function Invoke-Agent([string[]]$Arguments, [int]$TimeoutSeconds = 120) {
    $flags = @(Get-Content -LiteralPath (Join-Path $script:Target 'flags') | Where-Object { $_ })
    Invoke-Program $script:Runtime ($flags + (Join-Path $script:Target 'tidemark-agent.cjs') + $Arguments) $TimeoutSeconds
}

# ------------------------------------------------------------------------------------------------ what was asked for

function Test-Options {
    if ($script:Surplus.Count -gt 0) { Stop-With 'usage' "There is no option '$($script:Surplus[0])'. See -Help." }
    if ($Purge -and -not $Uninstall) { Stop-With 'usage' 'Removing everything is -Uninstall -Purge; -Purge alone does nothing.' }
    $changes = @($Server, $HostName, $Interval, $Site, $TokenFile, $CaFile, $Proxy) + @($Tag) + @($Postgres) | Where-Object { $_ }
    if ($Update -and $changes) {
        Stop-With 'usage' 'With -Update nothing is changed but the version. Leave it out to change options: running this again upgrades as well.'
    }
    if ($Server -and $Server -notmatch '^https?://[^/?#@\s]+(/[^?#\s]*)?$') {
        Stop-With 'usage' "-Server '$Server' is no address of a collector: write http://HOST:5000 or https://HOST."
    }
    if ($Proxy -and $Proxy -notmatch '^http://[^/?#@\s]+/?$') { Stop-With 'usage' "-Proxy '$Proxy' is no proxy: write http://HOST:PORT, without a password." }
    if ($HostName -and ($HostName.Length -gt 253 -or $HostName -match '[/\x00-\x1f\x7f]')) {
        Stop-With 'usage' "-HostName must be 1 to 253 printable characters without a slash; this has $($HostName.Length)."
    }
    if ($Interval -and ($Interval -notmatch '^\d{1,4}$' -or [int]$Interval -lt 1 -or [int]$Interval -gt 3600)) {
        Stop-With 'usage' "-Interval '$Interval' is no number of seconds from 1 to 3600."
    }
    foreach ($one in Get-Tags) {
        if ($one -notmatch '^[A-Za-z][A-Za-z0-9_.-]*=') { Stop-With 'usage' "-Tag '$one' is no tag: write KEY=VALUE, the key beginning with a letter." }
    }
    foreach ($one in Get-PostgresServers) {
        if ($one -notmatch '^postgres(ql)?://') { Stop-With 'usage' "-Postgres '$one' is neither auto nor an address: write postgres://user@host:5432/database." }
        if ($one -match '://[^/?#@:]*:[^@/?#]+@' -or $one -match '[?&]password=') {
            Stop-With 'usage' 'A password on the command line can be read by every user of this machine: leave it out of -Postgres (docs: watch-postgresql).'
        }
    }
}

# By commas: `powershell -File` hands a list over as one word.
function Get-Tags { @($Tag) | Where-Object { $_ } | ForEach-Object { $_ -split ',(?=[A-Za-z][A-Za-z0-9_.-]*=)' } }
function Get-PostgresWords { @($Postgres) | Where-Object { $_ } | ForEach-Object { $_ -split ',(?=auto$|postgres(?:ql)?://)' } }
function Get-PostgresServers { Get-PostgresWords | Where-Object { $_ -ne 'auto' } }
function Test-PostgresAuto { @(Get-PostgresWords) -contains 'auto' }

# What the agent itself is to know, for `tidemark-agent configure`.
function Get-GivenOptions {
    if ($Server) { '--server'; $Server.TrimEnd('/') }
    elseif ($script:NewServer) { '--server'; $script:NewServer }
    if ($HostName) { '--hostname'; $HostName }
    if ($Interval) { '--interval'; $Interval }
    if ($Site) { '--site'; $Site }
    foreach ($one in Get-Tags) { '--tag'; $one }
    foreach ($one in Get-PostgresServers) { '--postgres'; $one }
    if ($script:NewAuthority) { '--ca-file'; (Join-Path $Data 'ca.pem') }
    if ($Proxy) { '--proxy'; $Proxy.TrimEnd('/') }
}

# The enrolment string, if that is what the file holds: tme1.TOKEN.FINGERPRINT@URL
function Read-Token {
    $script:Pinned = $TidemarkFingerprint
    $script:TokenUrl = ''
    if (-not $TokenFile) { return }
    if (-not (Test-Path -LiteralPath $TokenFile -PathType Leaf)) {
        Stop-With 'usage' "There is no file ${TokenFile}: put the enrolment string into it, or name the right one with -TokenFile."
    }
    $line = @(Get-Content -LiteralPath $TokenFile | ForEach-Object { $_.Trim() } | Where-Object { $_ })
    if ($line.Count -eq 0) { Stop-With 'usage' "The file $TokenFile is empty: put the enrolment string into it." }
    if ($line[0] -notlike 'tme1.*') { return }
    if ($line[0] -notmatch '^tme1\.[A-Za-z0-9_-]{20,100}\.([0-9a-f]{64}|-)@(https?://[^\s?#@]{1,500})$') {
        Stop-With 'usage' "The enrolment string in $TokenFile was cut: copy the whole line, to the end of the address."
    }
    $script:TokenUrl = $Matches[2].TrimEnd('/')
    if ($Matches[1] -eq '-') { $script:Pinned = '' } else { $script:Pinned = $Matches[1] }
}

# ------------------------------------------------------------------------------------------------ this machine

function Test-System {
    if ([Environment]::OSVersion.Platform -ne [PlatformID]::Win32NT) {
        Stop-With 'unsupportedSystem' 'This script is for Windows; Linux has agent-install-linux.sh.'
    }
    if ($ExecutionContext.SessionState.LanguageMode -ne 'FullLanguage') {
        Stop-With 'unsupportedSystem' "A policy of this machine restricts PowerShell here ($($ExecutionContext.SessionState.LanguageMode)): allow this script in it, or run it where it is not restricted."
    }
    if (-not [Environment]::Is64BitProcess) {
        Stop-With 'unsupportedSystem' 'This is the 32-bit PowerShell, or a 32-bit Windows: run this in the 64-bit PowerShell of a 64-bit Windows.'
    }
    if ($env:PROCESSOR_ARCHITECTURE -ne 'AMD64') {
        Stop-With 'unsupportedSystem' "There is no agent for the processor of this machine ($env:PROCESSOR_ARCHITECTURE): x64 is supported."
    }
    # OSVersion tells programs without a manifest of their own what they want to hear.
    $key = Get-ItemProperty -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
    if (-not ($key.PSObject.Properties.Name -contains 'CurrentMajorVersionNumber') -or $key.CurrentMajorVersionNumber -lt 10) {
        Stop-With 'unsupportedSystem' "This Windows ($($key.ProductName)) is too old: the agent needs Windows Server 2016, Windows 10 or later."
    }
}

function Test-Administrator {
    $principal = New-Object Security.Principal.WindowsPrincipal ([Security.Principal.WindowsIdentity]::GetCurrent())
    # By its SID: the group has another name in other languages.
    $administrators = New-Object Security.Principal.SecurityIdentifier $AdministratorsSid
    if (-not $principal.IsInRole($administrators)) {
        if ($DryRun) { return }
        Stop-With 'noRights' 'This needs an administrator: open PowerShell with "Run as administrator" and run it again there.'
    }
}

function Test-Room([long]$Bytes) {
    $free = (New-Object IO.DriveInfo ([IO.Path]::GetPathRoot($Programs))).AvailableFreeSpace
    if ($free -lt $Bytes) {
        Stop-With 'noRoom' "Not enough room for ${Programs}: $([Math]::Ceiling($Bytes / 1048576)) MB are needed and $([Math]::Floor($free / 1048576)) MB are free. Free some, then run this again."
    }
}

# ------------------------------------------------------------------------------------------------ what is here already

# The value of a plain line of the configuration.
function Get-Configured([string]$Name) {
    $file = Join-Path $Data 'agent.yaml'
    if (-not (Test-Path -LiteralPath $file)) { return '' }
    foreach ($line in [IO.File]::ReadAllLines($file)) {
        if ($line -match ('^' + $Name + ':\s*(.*?)\s*(\s#.*)?$')) { return $Matches[1].Trim('"', "'") }
    }
    ''
}

function Get-FirstLine([string]$File) {
    if (-not (Test-Path -LiteralPath $File)) { return '' }
    $lines = @([IO.File]::ReadAllLines($File) | Where-Object { $_.Trim() })
    if ($lines.Count -eq 0) { return '' }
    $lines[0].Trim()
}

function Read-Installed {
    $script:OldVersion = Get-FirstLine (Join-Path $Programs 'current')
    $script:OldServer = (Get-Configured 'server').TrimEnd('/')
    $script:Installed = $script:OldVersion -and (Test-Path -LiteralPath (Join-Path $Programs "versions\$($script:OldVersion)\tidemark-agent.cjs"))
    if ($Update -and -not $script:Installed) { Stop-With 'usage' 'There is no agent here to update: run this without -Update to install it.' }
}

# Which collector the agent reports to, and where the downloads are.
function Select-Server {
    if ($TidemarkUrl -notlike 'http*') {
        Stop-With 'usage' 'This is the bare template of the installer: fetch the script from your collector, under /documentation/downloads/agent-install-windows.ps1.'
    }
    $script:NewServer = ''
    if ($Server) { $script:Collector = $Server.TrimEnd('/') }
    elseif ($script:TokenUrl) {
        $script:Collector = $script:TokenUrl
        if ($script:TokenUrl -ne $script:OldServer) { $script:NewServer = $script:TokenUrl }
    }
    elseif ($script:OldServer) { $script:Collector = $script:OldServer }
    else { $script:Collector = $script:NewServer = $TidemarkUrl }
    if ($Version -and $Version -ne $TidemarkVersion) {
        Stop-With 'usage' "The collector has version $TidemarkVersion of the agent and no other: leave -Version out, or upgrade the collector first."
    }
    $remembered = Get-FirstLine (Join-Path $Programs 'downloads-key')
    if ($remembered -and $remembered -ne $TidemarkKey -and $script:Collector -eq $script:OldServer) {
        Stop-With 'signatureWrong' "This script carries another signing key than the one $($script:Collector) had when the agent was installed here. If that collector was set up anew, remove $Programs\downloads-key and run this again; if not, do not trust this script."
    }
    $script:ProxyUsed = $Proxy
    if (-not $Proxy) { $script:ProxyUsed = Get-Configured 'proxy' }
    if ($CaFile -and -not ((Test-Path -LiteralPath $CaFile) -and (Select-String -LiteralPath $CaFile -Pattern 'BEGIN CERTIFICATE' -Quiet))) {
        Stop-With 'usage' "$CaFile holds no certificate as PEM, or is not there: name the certificate authority of the collector with -CaFile."
    }
    $script:NewAuthority = [bool]$CaFile
    # With an authority of its own the transport is not what vouches for a download: sums and signature do, by the key in this script.
    $script:Unverified = $script:Pinned -or $CaFile -or (Get-Configured 'caFile')
}

# ------------------------------------------------------------------------------------------------ downloads

# A delegate that says yes, made without a compiler: a script block could not be called on the thread that asks.
function New-AnyCertificate {
    $types = [object], [Security.Cryptography.X509Certificates.X509Certificate], [Security.Cryptography.X509Certificates.X509Chain], [Net.Security.SslPolicyErrors]
    $parameters = [Linq.Expressions.ParameterExpression[]]@($types | ForEach-Object { [Linq.Expressions.Expression]::Parameter($_) })
    $yes = [Linq.Expressions.Expression]::Constant($true, [bool])
    [Linq.Expressions.Expression]::Lambda([Net.Security.RemoteCertificateValidationCallback], $yes, $parameters).Compile()
}

function New-Request([string]$Url, [long]$Offset) {
    $request = [Net.HttpWebRequest][Net.WebRequest]::Create($Url)
    $request.UserAgent = 'tidemark-agent-install'
    $request.Timeout = 15000
    $request.ReadWriteTimeout = 20000
    # The machine's proxy is not what the agent would use, so it is not used for this either.
    $request.Proxy = $null
    if ($script:ProxyUsed) { $request.Proxy = New-Object Net.WebProxy $script:ProxyUsed }
    if ($script:Unverified) { $request.ServerCertificateValidationCallback = New-AnyCertificate }
    if ($Offset -gt 0) { $request.AddRange($Offset) }
    $request
}

# One attempt: a table with Name (of an exit code; "ok" when it is there), Status, Words, RetryAfter and Detail.
function Receive-Once([string]$Url, [string]$File) {
    $offset = 0
    if (Test-Path -LiteralPath $File) { $offset = (Get-Item -LiteralPath $File).Length }
    $answer = $null
    try {
        $request = New-Request $Url $offset
        $answer = $request.GetResponse()
        $mode = [IO.FileMode]::Create
        if ($offset -gt 0 -and [int]$answer.StatusCode -eq 206) { $mode = [IO.FileMode]::Append }
        $to = New-Object IO.FileStream $File, $mode, ([IO.FileAccess]::Write)
        try {
            $from = $answer.GetResponseStream()
            $buffer = New-Object byte[] 65536
            $got = 0
            while (($n = $from.Read($buffer, 0, $buffer.Length)) -gt 0) { $to.Write($buffer, 0, $n); $got += $n }
        }
        finally { $to.Dispose() }
        if ($answer.ContentLength -ge 0 -and $got -lt $answer.ContentLength) { return @{ Name = 'downloadFailed'; Status = 200; Words = 'cut off' } }
        return @{ Name = 'ok'; Status = 200 }
    }
    catch { return Get-FetchTrouble $_.Exception ($null -ne $answer) }
    finally { if ($answer) { $answer.Close() } }
}

function Test-DiskFull([Exception]$Exception) {
    $base = $Exception.GetBaseException()
    $base -is [IO.IOException] -and ($base.HResult -band 0xFFFF) -in 39, 112
}

# What an exception of a request means. PowerShell wraps it, and each .NET has its own way to say the same: the whole chain is looked at.
function Get-FetchTrouble([Exception]$Exception, [bool]$Begun) {
    $trouble = @{ Name = 'connectionRefused'; Status = 0; Words = $Exception.GetBaseException().Message; RetryAfter = 5; Detail = '' }
    if ($Begun) { $trouble.Name = 'downloadFailed' }
    if (Test-DiskFull $Exception) { $trouble.Name = 'noRoom'; return $trouble }
    for ($one = $Exception; $one; $one = $one.InnerException) {
        if ($one -is [Net.WebException] -and $one.Response) {
            Add-Answer $trouble $one.Response
            return $trouble
        }
        if ($one -is [Security.Authentication.AuthenticationException]) { $trouble.Name = 'tlsFailed' }
        elseif ($one -is [Net.Sockets.SocketException] -and $one.SocketErrorCode.ToString() -in 'HostNotFound', 'NoData', 'TryAgain') { $trouble.Name = 'nameUnknown' }
        elseif ($one -is [Net.WebException]) {
            if ($one.Status.ToString() -in 'NameResolutionFailure', 'ProxyNameResolutionFailure') { $trouble.Name = 'nameUnknown' }
            elseif ($one.Status.ToString() -in 'TrustFailure', 'SecureChannelFailure') { $trouble.Name = 'tlsFailed' }
            elseif ($one.Status.ToString() -eq 'ServerProtocolViolation') { $trouble.Name = 'notACollector' }
        }
    }
    $trouble
}

# An HTTP answer that is no success, with what a collector says in it.
function Add-Answer($Trouble, $Answer) {
    $Trouble.Status = [int]$Answer.StatusCode
    $Trouble.Name = 'notACollector'
    $Trouble.Words = "HTTP status $($Trouble.Status)"
    $after = 0
    if ([int]::TryParse($Answer.Headers['Retry-After'], [ref]$after)) { $Trouble.RetryAfter = [Math]::Min([Math]::Max($after, 1), 30) }
    try {
        $reader = New-Object IO.StreamReader $Answer.GetResponseStream()
        $buffer = New-Object char[] 4096
        $text = New-Object string $buffer, 0, ($reader.ReadBlock($buffer, 0, $buffer.Length))
        $problem = ConvertFrom-Json $text
        if ($problem.PSObject.Properties.Name -contains 'detail') { $Trouble.Detail = [string]$problem.detail -replace '[\x00-\x1f\x7f-\x9f]', ' ' }
    }
    catch { $Trouble.Detail = '' }
    finally { $Answer.Close() }
}

# Until it is there, or will not be: what was cut is taken up where it stopped, and a collector that still prepares is waited for.
function Receive-File([string]$Url, [string]$File, [int]$Attempts) {
    $waited = 0
    for ($attempt = 1; ; $attempt++) {
        $trouble = Receive-Once $Url $File
        if ($trouble.Name -eq 'ok') { return $trouble }
        if ($trouble.Status -eq 503 -and $waited -lt 900) {
            $said = ''
            if ($trouble.Detail) { $said = " ($($trouble.Detail))" }
            Write-Detail "The collector is still preparing the downloads$said; trying again in $($trouble.RetryAfter) s."
            Start-Sleep -Seconds $trouble.RetryAfter
            $waited += $trouble.RetryAfter + 1
            $attempt = 0
            continue
        }
        if ($trouble.Status -eq 416 -and (Test-Path -LiteralPath $File)) { Remove-Item -LiteralPath $File -Force }
        elseif ($trouble.Name -in 'noRoom', 'tlsFailed' -or ($trouble.Status -ge 400 -and $trouble.Status -lt 500)) { return $trouble }
        if ($attempt -ge $Attempts) { return $trouble }
        if ($trouble.Name -eq 'downloadFailed') { Write-Detail "Cut off: $($trouble.Words). Going on where it stopped." }
        Start-Sleep -Seconds ([Math]::Min([Math]::Pow(2, $attempt - 1), 16))
    }
}

# Why the collector cannot be reached, and what would open the way.
function Stop-Unreachable([string]$Url, $Trouble) {
    $uri = New-Object Uri $Url
    $by = $Url
    if ($script:ProxyUsed) { $by = "the proxy $($script:ProxyUsed)" }
    $clock = [DateTime]::UtcNow.ToString('yyyy-MM-dd HH:mm', [Globalization.CultureInfo]::InvariantCulture)
    $sentence = switch ($Trouble.Name) {
        'nameUnknown' { "DNS: the name in $by is unknown to this machine. Use the collector's address instead, or put the name into DNS or $env:SystemRoot\System32\drivers\etc\hosts." }
        'connectionRefused' { "TCP: no connection to $by ($($Trouble.Words)). Is the collector running there? A firewall on its machine is opened by: sudo ufw allow $($uri.Port)/tcp, or on Windows: New-NetFirewallRule -DisplayName `"Tidemark collector`" -Direction Inbound -Protocol TCP -LocalPort $($uri.Port) -Action Allow" }
        'tlsFailed' { "TLS: $($uri.Host) does not prove who it is ($($Trouble.Words)). Give its certificate authority with -CaFile, or an enrolment string with -TokenFile; and look at this machine's clock ($clock UTC)." }
        'noRoom' { "There is no room left for $Programs. Free some space, then run this again." }
        'downloadFailed' { "The download from $Url was cut off, again and again ($($Trouble.Words)). Run this again to go on." }
        default { "HTTP: what answers at $Url is not a Tidemark collector, or does not serve downloads ($($Trouble.Words)). $($Trouble.Detail) Name the right address with -Server." }
    }
    Stop-With $Trouble.Name $sentence
}

# The collector's own authority, when a fingerprint vouches for it: fetched from whoever answers, believed by the SHA-256 of its DER.
function Receive-Authority {
    if ($script:Collector -notlike 'https:*' -or -not $script:Pinned -or $CaFile) { return }
    $file = Join-Path $script:Staging 'ca.pem'
    $trouble = Receive-File "$($script:Collector)/documentation/downloads/ca.pem" $file 2
    if ($trouble.Name -ne 'ok') { Stop-Unreachable $script:Collector $trouble }
    $found = ''
    if ([IO.File]::ReadAllText($file) -match '(?s)-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----') {
        $sha = [Security.Cryptography.SHA256]::Create()
        try { $found = ([BitConverter]::ToString($sha.ComputeHash([Convert]::FromBase64String(($Matches[1] -replace '\s', ''))))) -replace '-', '' }
        catch [FormatException] { $found = '' }
        finally { $sha.Dispose() }
    }
    if ($found -ne $script:Pinned) {
        Stop-With 'tlsFailed' "TLS: the certificate authority at $($script:Collector) is not the one that the enrolment string was made for. Someone may stand in between, or the collector was set up anew: make a new enrolment string there."
    }
    $script:NewAuthority = $true
}

# The list of what there is. A collector behind something that passes reports alone is no reason to fail: the script knows its origin.
function Receive-List {
    $script:Origin = "$($script:Collector)/documentation/downloads"
    $trouble = Receive-File "$($script:Origin)/SHA256SUMS" (Join-Path $script:Staging 'SHA256SUMS') 2
    if ($trouble.Name -eq 'notACollector' -and $TidemarkUrl -ne $script:Collector) {
        $script:Origin = "$TidemarkUrl/documentation/downloads"
        $trouble = Receive-File "$($script:Origin)/SHA256SUMS" (Join-Path $script:Staging 'SHA256SUMS') 2
    }
    if ($trouble.Name -ne 'ok') { Stop-Unreachable $script:Collector $trouble }
    $trouble = Receive-File "$($script:Origin)/SHA256SUMS.sig" (Join-Path $script:Staging 'SHA256SUMS.sig') 3
    if ($trouble.Name -ne 'ok') { Stop-Unreachable $script:Collector $trouble }
    $script:Sums = @{}
    foreach ($line in [IO.File]::ReadAllLines((Join-Path $script:Staging 'SHA256SUMS'))) {
        if ($line -match '^([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._-]*)$') { $script:Sums[$Matches[2]] = $Matches[1] }
    }
    $script:Archive = "tidemark-agent-$TidemarkVersion.zip"
    if (-not $script:Sums.ContainsKey($script:Archive)) {
        Stop-With 'downloadFailed' "The collector was upgraded since this script was fetched from it. Fetch it again from $($script:Origin)/agent-install-windows.ps1 and run that."
    }
}

# Fetches a file and checks its sum; once more when that is wrong.
function Receive-Checked([string]$Name, [string]$Sum) {
    $file = Join-Path $script:Staging $Name
    Write-Step "Downloading $Name"
    foreach ($again in $false, $true) {
        $trouble = Receive-File "$($script:Origin)/$Name" $file 8
        if ($trouble.Name -ne 'ok') { Stop-Unreachable $script:Collector $trouble }
        if ((Get-FileHash -LiteralPath $file -Algorithm SHA256).Hash -eq $Sum) { return $file }
        Remove-Item -LiteralPath $file -Force
        if (-not $again) { Write-Detail 'Its checksum is wrong; trying once more.' }
    }
    Stop-With 'checksumWrong' "The checksum of $Name is wrong: what $($script:Origin) serves is damaged, or is changed on the way. Nothing was installed; tell whoever runs the collector."
}

function Expand-Package([string]$File, [string]$Directory) {
    Add-Type -AssemblyName System.IO.Compression.FileSystem
    try { [IO.Compression.ZipFile]::ExtractToDirectory($File, $Directory) }
    catch {
        $name = 'failed'
        if (Test-DiskFull $_.Exception) { $name = 'noRoom' }
        Stop-With $name "The package $([IO.Path]::GetFileName($File)) could not be unpacked into ${Directory}: $($_.Exception.GetBaseException().Message)"
    }
    Remove-Item -LiteralPath $File -Force
}

# Checked by the runtime, whose own sum stands in this script: Windows itself cannot verify Ed25519.
function Test-Signature {
    $check = 'const { createPublicKey, verify } = require(''node:crypto''), { readFileSync } = require(''node:fs'');' +
        'const [, sums, signature, key] = process.argv;' +
        'const spki = Buffer.concat([Buffer.from(''302a300506032b6570032100'', ''hex''), Buffer.from(key, ''base64'')]);' +
        'const publicKey = createPublicKey({ key: spki, format: ''der'', type: ''spki'' });' +
        'process.exit(verify(null, readFileSync(sums), publicKey, readFileSync(signature)) ? 0 : 1);'
    $sums = Join-Path $script:Staging 'SHA256SUMS'
    $done = Invoke-Program $script:Runtime @('-e', $check, $sums, "$sums.sig", $TidemarkKey)
    $runtimeKnown = -not $script:RuntimePackage -or $script:Sums[$script:RuntimePackage] -eq $script:RuntimeSum
    if ($done.Code -ne 0 -or -not $runtimeKnown) {
        Stop-With 'signatureWrong' "The list of downloads at $($script:Origin) is not signed by the collector that this script came from ($TidemarkUrl). Fetch the script from $($script:Origin)/agent-install-windows.ps1, or find out who stands in between."
    }
}

function Receive-Runtime {
    $script:Runtime = Join-Path $Programs "runtimes\$TidemarkNode\node.exe"
    $script:RuntimePackage = ''
    $script:NewRuntime = ''
    if ((Test-Path -LiteralPath $script:Runtime) -and (Invoke-Program $script:Runtime @('--version')).Output.Trim() -eq "v$TidemarkNode") { return }
    $script:RuntimePackage = "tidemark-runtime-$TidemarkNode-win-x64.zip"
    $row = @($TidemarkRuntimes -split ';' | Where-Object { $_ -like "* $($script:RuntimePackage)" })
    if ($row.Count -ne 1) { Stop-With 'unsupportedSystem' "The collector has no runtime for Windows ($($script:RuntimePackage))." }
    $script:RuntimeSum = ($row[0] -split ' ')[0]
    Test-Room 220MB
    $file = Receive-Checked $script:RuntimePackage $script:RuntimeSum
    $script:NewRuntime = Join-Path $script:Staging 'runtime'
    Expand-Package $file $script:NewRuntime
    $script:Runtime = Join-Path $script:NewRuntime 'node.exe'
    $done = Invoke-Program $script:Runtime @('--version')
    if ($done.Output.Trim() -ne "v$TidemarkNode") {
        Stop-With 'unsupportedSystem' "The runtime does not run here ($($done.Errors.Trim())): a policy for programs (AppLocker, WDAC) or a virus scanner may forbid it. Allow $Programs\runtimes in it."
    }
}

function Receive-Agent {
    $sum = $script:Sums[$script:Archive]
    # Another build of the same version is a version of its own: what runs is never changed in place.
    foreach ($name in $TidemarkVersion, "$TidemarkVersion-$($sum.Substring(0, 8))") {
        $script:NewVersion = $name
        $script:Target = Join-Path $Programs "versions\$name"
        if ((Get-FirstLine (Join-Path $script:Target 'ARCHIVE')) -eq $sum) { $script:MadeTarget = $false; return }
        if (-not (Test-Path -LiteralPath $script:Target)) { break }
    }
    Test-Room 16MB
    $file = Receive-Checked $script:Archive $sum
    $unpacked = Join-Path $script:Staging 'agent'
    Expand-Package $file $unpacked
    [IO.File]::WriteAllText((Join-Path $unpacked 'ARCHIVE'), "$sum`n")
    if ((Get-FirstLine (Join-Path $unpacked 'VERSION')) -ne $TidemarkVersion -or (Get-FirstLine (Join-Path $unpacked 'NODE')) -ne $TidemarkNode) {
        Stop-With 'downloadFailed' "The collector was upgraded since this script was fetched from it. Fetch it again from $($script:Origin)/agent-install-windows.ps1 and run that."
    }
    $script:MadeTarget = $true
    if (Test-Path -LiteralPath $script:Target) { Remove-Item -LiteralPath $script:Target -Recurse -Force }
}

# ------------------------------------------------------------------------------------------------ folders and who may use them

# Rights by SID alone: every name of a group or of an account is another in another language.
function New-Rights($Security, $Rules) {
    $Security.SetAccessRuleProtection($true, $false)
    $Security.SetOwner((New-Object Security.Principal.SecurityIdentifier $AdministratorsSid))
    $inherit = 'None'
    if ($Security -is [Security.AccessControl.DirectorySecurity]) { $inherit = 'ContainerInherit, ObjectInherit' }
    foreach ($rule in $Rules) {
        $who = New-Object Security.Principal.SecurityIdentifier $rule[0]
        $how = $inherit
        if ($rule.Count -gt 2) { $how = $rule[2] }
        $Security.AddAccessRule((New-Object Security.AccessControl.FileSystemAccessRule $who, $rule[1], $how, 'None', 'Allow'))
    }
    $Security
}

# By .NET's own functions, which write what was changed and nothing else; the newer .NET has them in another place.
function Set-Rights([string]$Path, $Security) {
    $item = Get-Item -LiteralPath $Path -Force
    if ($item.PSObject.Methods.Name -contains 'SetAccessControl') { $item.SetAccessControl($Security) }
    else { [IO.FileSystemAclExtensions]::SetAccessControl($item, $Security) }
}

function Set-FolderRights([string]$Path, $Rules) {
    Set-Rights $Path (New-Rights (New-Object Security.AccessControl.DirectorySecurity) $Rules)
}

# Everybody may make folders in ProgramData: one that somebody else made first is not trusted with a secret.
function New-DataFolder {
    $everything = @($SystemSid, 'FullControl'), @($AdministratorsSid, 'FullControl')
    if (Test-Path -LiteralPath $Data) {
        $folder = Get-Item -LiteralPath $Data -Force
        $owner = (Get-Acl -LiteralPath $Data).GetOwner([Security.Principal.SecurityIdentifier]).Value
        $own = [Security.Principal.WindowsIdentity]::GetCurrent().User.Value
        if (($folder.Attributes -band [IO.FileAttributes]::ReparsePoint) -or $owner -notin $SystemSid, $AdministratorsSid, $own) {
            Stop-With 'noRights' "The folder $Data was not made by an administrator (its owner is $owner): look at what is in it, remove it, then run this again."
        }
    }
    else { New-Item -ItemType Directory -Path $Data | Out-Null; $script:MadeData = $true }
    $acl = Get-Acl -LiteralPath $Data
    # A collector's installer may have been here before: then only the agent's own rule is added.
    if (-not $acl.AreAccessRulesProtected) {
        Set-FolderRights $Data ($everything + , @($script:AccountSid, 'ReadAndExecute', 'None'))
        Test-Planted
    }
    else {
        $who = New-Object Security.Principal.SecurityIdentifier $script:AccountSid
        $acl.SetAccessRule((New-Object Security.AccessControl.FileSystemAccessRule $who, 'ReadAndExecute', 'None', 'None', 'Allow'))
        Set-Rights $Data $acl
    }
    foreach ($name in 'agent', 'logs') {
        $folder = Join-Path $Data $name
        if (-not (Test-Path -LiteralPath $folder)) { New-Item -ItemType Directory -Path $folder | Out-Null }
        Set-FolderRights $folder ($everything + , @($script:AccountSid, 'Modify'))
    }
}

# In a folder that was open so far others may have put something, a link above all: it is not believed, and its rights are not touched.
function Test-Planted {
    $own = [Security.Principal.WindowsIdentity]::GetCurrent().User.Value
    foreach ($one in Get-ChildItem -LiteralPath $Data -Force) {
        $isLink = [bool]($one.Attributes -band [IO.FileAttributes]::ReparsePoint)
        if (-not $isLink -and (Get-Acl -LiteralPath $one.FullName).GetOwner([Security.Principal.SecurityIdentifier]).Value -in $SystemSid, $AdministratorsSid, $own) { continue }
        Stop-With 'noRights' "$($one.FullName) is a link, or was not made by an administrator: look at it, remove it, then run this again."
    }
}

# The configuration and the secret: for administrators and the service, and for nobody else.
function Protect-Files {
    foreach ($file in Get-PrivateFiles) {
        $rules = @($SystemSid, 'FullControl'), @($AdministratorsSid, 'FullControl'), @($script:AccountSid, 'Read')
        Set-Rights $file (New-Rights (New-Object Security.AccessControl.FileSecurity) $rules)
    }
}

# Read and written by the whole content, so that what a program has open is never in the way.
function Save-Before {
    $script:Before = Join-Path $script:Staging 'before'
    New-Item -ItemType Directory -Path $script:Before | Out-Null
    foreach ($name in $PrivateFiles) {
        $file = Join-Path $Data $name
        if (Test-Path -LiteralPath $file) { Copy-Item -LiteralPath $file -Destination (Join-Path $script:Before $name) }
    }
    # Last: with it the copies are whole.
    if ($script:Installed) { [IO.File]::WriteAllText((Join-Path $script:Before 'version'), "$($script:OldVersion)`r`n") }
}

function Restore-Before {
    foreach ($name in $PrivateFiles) {
        $file = Join-Path $Data $name
        $copy = Join-Path $script:Before $name
        if (Test-Path -LiteralPath $copy) { [IO.File]::WriteAllBytes($file, [IO.File]::ReadAllBytes($copy)) }
        elseif (Test-Path -LiteralPath $file) { Remove-Item -LiteralPath $file -Force }
    }
    Protect-Files
}

# The new program beside the old one; nothing that runs is touched.
function Install-Files {
    Write-Step "Putting the program into $Programs"
    foreach ($name in 'versions', 'runtimes', 'bin', 'host') {
        $folder = Join-Path $Programs $name
        if (-not (Test-Path -LiteralPath $folder)) { New-Item -ItemType Directory -Path $folder | Out-Null }
    }
    if ($script:NewRuntime) {
        $place = Join-Path $Programs "runtimes\$TidemarkNode"
        if (Test-Path -LiteralPath $place) { Move-Item -LiteralPath $place -Destination "$place.old-$([DateTime]::UtcNow.Ticks)" }
        Move-Item -LiteralPath $script:NewRuntime -Destination $place
        $script:Runtime = Join-Path $place 'node.exe'
    }
    if ($script:MadeTarget) { Move-Item -LiteralPath (Join-Path $script:Staging 'agent') -Destination $script:Target }
    [IO.File]::WriteAllText((Join-Path $Programs 'bin\tidemark-agent.cmd'), $Wrapper.Replace("`r`n", "`n").Replace("`n", "`r`n"))
}

$Wrapper = @'
@echo off
rem Runs the installed Tidemark agent: its own Node.js, with the flags that it ships with.
setlocal enableextensions disabledelayedexpansion
set "root=%~dp0.."
for /f "usebackq delims=" %%v in ("%root%\current") do set "version=%%v"
for /f "usebackq delims=" %%n in ("%root%\versions\%version%\NODE") do set "node=%%n"
set "flags="
for /f "usebackq delims=" %%x in ("%root%\versions\%version%\flags") do call set "flags=%%flags%% %%x"
"%root%\runtimes\%node%\node.exe" %flags% "%root%\versions\%version%\tidemark-agent.cjs" %*
set "code=%errorlevel%"
rem A file that was written anew has the folder's rights, without those of the service.
set "data=%ProgramData%\Tidemark"
for %%x in ("%data%\agent.yaml" "%data%\agent.token" "%data%\ca.pem" "%data%\*.password") do if exist "%%~x" "%SystemRoot%\System32\icacls.exe" "%%~x" /grant:r "*@ACCOUNT@:R" /q >nul 2>&1
exit /b %code%
'@

# ------------------------------------------------------------------------------------------------ the service

# The service's program is compiled here, by the compiler that every Windows has with its .NET Framework. Where a policy forbids that, or
# forbids to run what came of it, there is a scheduled task instead: empty is what this returns then.
function New-HostProgram {
    $sources = @(Get-ChildItem -LiteralPath (Join-Path $script:Target 'host') -Filter '*.cs' -ErrorAction SilentlyContinue | Sort-Object Name)
    $compiler = Join-Path $env:SystemRoot 'Microsoft.NET\Framework64\v4.0.30319\csc.exe'
    $program = Join-Path $script:Staging 'TidemarkAgentHost.exe'
    $why = 'the compiler of the .NET Framework is not here'
    if ($sources.Count -eq 0) { $why = 'this version has no program for it' }
    elseif (Test-Path -LiteralPath $compiler) {
        $arguments = @('/nologo', '/target:exe', '/optimize+', '/platform:anycpu', '/langversion:5', "/out:$program", '/reference:System.Core.dll', '/reference:System.ServiceProcess.dll')
        try {
            $done = Invoke-Program $compiler ($arguments + @($sources | ForEach-Object { $_.FullName }))
            $why = "it could not be compiled: $($done.Output.Trim())"
            if ($done.Code -eq 0) {
                $check = Invoke-Program $program @('--check')
                if ($check.Output.Trim() -eq 'ok') { return $program }
                $why = 'it was compiled and may not be run here'
            }
        }
        catch { $why = $_.Exception.GetBaseException().Message }
    }
    Write-Trouble "There is no Windows service, but a scheduled task: $why. The agent reports all the same; network, disk activity, services and committed memory are missing and are said to be."
    ''
}

# Renaming works on a program that runs, replacing does not.
function Install-HostProgram([string]$Program) {
    $place = Join-Path $Programs 'host\TidemarkAgentHost.exe'
    $script:OldHost = ''
    if (Test-Path -LiteralPath $place) {
        $script:OldHost = "$place.old-$([DateTime]::UtcNow.Ticks)"
        Move-Item -LiteralPath $place -Destination $script:OldHost
    }
    Move-Item -LiteralPath $Program -Destination $place
    $place
}

function Get-AgentService { Get-Service -Name $ServiceName -ErrorAction SilentlyContinue }

function Register-AgentService([string]$Program) {
    $path = '"' + $Program + '"'
    $display = 'Tidemark Agent'
    if (-not (Get-AgentService)) {
        Write-Step "Making the service $ServiceName"
        Invoke-ServiceControl @('create', $ServiceName, 'type=', 'own', 'start=', 'delayed-auto', 'binPath=', $path, 'obj=', "NT SERVICE\$ServiceName", 'DisplayName=', $display)
        $script:MadeService = $true
    }
    else {
        Invoke-ServiceControl @('config', $ServiceName, 'type=', 'own', 'start=', 'delayed-auto', 'binPath=', $path, 'obj=', "NT SERVICE\$ServiceName", 'DisplayName=', $display)
    }
    Invoke-ServiceControl @('description', $ServiceName, 'Reports how this machine is to its Tidemark collector.')
    Invoke-ServiceControl @('sidtype', $ServiceName, 'unrestricted')
    Invoke-ServiceControl @('failure', $ServiceName, 'reset=', '86400', 'actions=', 'restart/5000/restart/5000/restart/5000')
    # Without this an end that is no crash counts as meant.
    Invoke-ServiceControl @('failureflag', $ServiceName, '1')
    try {
        if (-not [Diagnostics.EventLog]::SourceExists($ServiceName)) { [Diagnostics.EventLog]::CreateEventSource($ServiceName, 'Application') }
    }
    catch { Write-Trouble "The event log has no source $ServiceName ($($_.Exception.GetBaseException().Message)): its errors are in $Data\logs alone." }
}

# Starts with the machine, and is looked after every five minutes: a task that runs already is not started twice.
function Register-AgentTask {
    $flags = @(Get-Content -LiteralPath (Join-Path $script:Target 'flags') | Where-Object { $_ })
    $parts = $flags + (Join-Path $script:Target 'tidemark-agent.cjs') + @('run', '--config', (Join-Path $Data 'agent.yaml'), '--data-dir', (Join-Path $Data 'agent'), '--token-file', (Join-Path $Data 'agent.token'))
    $line = ($parts | ForEach-Object { ConvertTo-Argument $_ }) -join ' '
    $text = [Security.SecurityElement]::Escape($line)
    $program = [Security.SecurityElement]::Escape($script:Runtime)
    # As XML, by SID: the parameters of the cmdlets take names of accounts. In the order in which Windows itself writes it.
    $xml = @"
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <Triggers>
    <BootTrigger><Repetition><Interval>PT5M</Interval><StopAtDurationEnd>false</StopAtDurationEnd></Repetition><Enabled>true</Enabled></BootTrigger>
    <TimeTrigger><Repetition><Interval>PT5M</Interval><StopAtDurationEnd>false</StopAtDurationEnd></Repetition><StartBoundary>2020-01-01T00:00:00Z</StartBoundary><Enabled>true</Enabled></TimeTrigger>
  </Triggers>
  <Principals><Principal id="Author"><UserId>$LocalServiceSid</UserId><RunLevel>LeastPrivilege</RunLevel></Principal></Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>PT1M</Interval><Count>255</Count></RestartOnFailure>
  </Settings>
  <Actions Context="Author"><Exec><Command>$program</Command><Arguments>$text</Arguments></Exec></Actions>
</Task>
"@
    Write-Step "Making the scheduled task $ServiceName"
    Register-ScheduledTask -TaskName $ServiceName -Xml $xml -Force | Out-Null
}

function Stop-Agent {
    $service = Get-AgentService
    if ($service -and $service.Status -ne 'Stopped') {
        Stop-Service -Name $ServiceName -Force -ErrorAction SilentlyContinue
        try { (Get-AgentService).WaitForStatus('Stopped', [TimeSpan]::FromSeconds(20)) }
        catch { Stop-With 'serviceNotStarted' "The service $ServiceName does not stop: end its process in the task manager, then run this again." }
    }
    if (Get-ScheduledTask -TaskName $ServiceName -ErrorAction SilentlyContinue) { Stop-ScheduledTask -TaskName $ServiceName -ErrorAction SilentlyContinue }
}

# True when it runs; a reason otherwise stands in $script:StartTrouble.
function Start-Agent {
    $script:StartTrouble = ''
    try {
        if ($script:AsTask) { Start-ScheduledTask -TaskName $ServiceName; return $true }
        Start-Service -Name $ServiceName
        (Get-AgentService).WaitForStatus('Running', [TimeSpan]::FromSeconds(30))
        $true
    }
    catch {
        $script:StartTrouble = $_.Exception.GetBaseException().Message
        $false
    }
}

# ------------------------------------------------------------------------------------------------ configuration and enrolment

function Set-Configuration {
    if ($CaFile) { [IO.File]::WriteAllBytes((Join-Path $Data 'ca.pem'), [IO.File]::ReadAllBytes((Resolve-Path -LiteralPath $CaFile).ProviderPath)) }
    elseif ($script:NewAuthority) { Copy-Item -LiteralPath (Join-Path $script:Staging 'ca.pem') -Destination (Join-Path $Data 'ca.pem') -Force }
    $config = Join-Path $Data 'agent.yaml'
    $given = @(Get-GivenOptions)
    if ($given.Count -gt 0) {
        Write-Step "Configuring $config"
        $done = Invoke-Agent (@('configure', '--config', $config) + $given)
        if ($done.Code -ne 0) { Stop-Program $done 'configuration' 'The configuration was not changed, for the reason above.' }
    }
    if (Test-PostgresAuto) {
        Write-Step 'Looking for PostgreSQL servers of this machine'
        $done = Invoke-Agent @('postgres', 'adopt', '--config', $config, '--yes')
        Write-Host $done.Output.Trim()
        if ($done.Code -ne 0) { Write-Trouble "$($done.Errors.Trim()) That is left to do by hand; everything else goes on." }
    }
    $done = Invoke-Agent @('check-config', '--config', $config)
    if ($done.Code -ne 0) { Stop-Program $done 'configuration' "The configuration in $config is wrong, as said above: put it right, then run this again." }
}

# Ends with the program's own code when it is one that installers have, and its words before.
function Stop-Program($Done, [string]$Otherwise, [string]$Sentence) {
    $said = @($Done.Errors.Trim(), $Done.Output.Trim()) | Where-Object { $_ }
    Write-Trouble ($said -join ' ')
    $name = @($Exit.Keys | Where-Object { $Exit[$_] -eq $Done.Code -and $Done.Code -gt 1 })
    if ($name.Count -eq 1) { Stop-With $name[0] $Sentence }
    Stop-With $Otherwise $Sentence
}

# A secret of this machine's own, which the collector knows by its hash; made by the agent and never seen here.
function Register-Node {
    $script:Pending = $false
    $secretFile = Join-Path $Data 'agent.token'
    $given = @(Get-GivenOptions)
    if ($script:Installed -and (Test-Path -LiteralPath $secretFile) -and $given.Count -eq 0 -and -not $TokenFile) { return }
    Write-Step "Enrolling at $($script:Collector)"
    $arguments = @('enroll', '--config', (Join-Path $Data 'agent.yaml'), '--secret-file', $secretFile, '--json')
    if ($TokenFile) { $arguments += '--token-file', (Resolve-Path -LiteralPath $TokenFile).ProviderPath }
    $done = Invoke-Agent $arguments
    if ($done.Code -ne 0) { Stop-Program $done 'failed' 'The collector did not enrol this node, for the reason above.' }
    $script:Pending = $done.Output -match '"state":\s*"pending"'
}

# ------------------------------------------------------------------------------------------------ switch, prove, or go back

# Written whole beside it and put in its place: at no moment is there no current version.
function Set-Current([string]$Name) {
    $file = Join-Path $Programs 'current'
    [IO.File]::WriteAllText("$file.new", "$Name`r`n")
    if (Test-Path -LiteralPath $file) { [IO.File]::Replace("$file.new", $file, [NullString]::Value) }
    else { [IO.File]::Move("$file.new", $file) }
}

function Switch-Version([string]$HostProgram) {
    $script:AsTask = -not $HostProgram
    $script:Stage = 'switched'
    Stop-Agent
    if ($HostProgram) {
        Unregister-AgentTask
        Register-AgentService (Install-HostProgram $HostProgram)
    }
    else {
        Remove-AgentService
        Register-AgentTask
    }
    Set-Current $script:NewVersion
    [IO.File]::WriteAllText((Join-Path $Programs 'downloads-key'), "$TidemarkKey`r`n")
    # A first installation stays once it is whole, even if the collector says nothing yet: the agent goes on trying.
    if (-not $script:Installed) { $script:Stage = 'started' }
}

# What was before: the version, its service program, and what was configured.
function Undo-Installation {
    if ($script:Stage -in 'begun', 'started') { return }
    $upgrade = $script:Installed -and $script:Stage -eq 'switched'
    if ($upgrade) { Write-Step "Going back to version $($script:OldVersion)" }
    if ($script:Stage -eq 'switched') { Stop-Agent }
    if (Test-Path -LiteralPath $script:Before) { Restore-Before }
    if ($script:OldHost -and (Test-Path -LiteralPath $script:OldHost)) {
        $place = Join-Path $Programs 'host\TidemarkAgentHost.exe'
        if (Test-Path -LiteralPath $place) { Move-Item -LiteralPath $place -Destination "$place.old-$([DateTime]::UtcNow.Ticks)" }
        Move-Item -LiteralPath $script:OldHost -Destination $place
    }
    if (-not $script:Installed) {
        Remove-Program
        if ($script:MadeData) { Remove-Item -LiteralPath $Data -Recurse -Force -ErrorAction SilentlyContinue }
        return
    }
    if ($upgrade) {
        Set-Current $script:OldVersion
        if ($script:AsTask) { Restore-Task $script:OldVersion }
        if (-not (Start-Agent)) { Write-Trouble 'The version before did not start either; look at its log.' }
        $script:ExitCode = $Exit.rolledBack
        if ($script:Sentence) { Write-Trouble $script:Sentence }
        $script:Sentence = "Version $TidemarkVersion did not report, so version $($script:OldVersion) with its configuration was put back. What it said stands above; nothing waiting was lost."
    }
    if ($script:MadeTarget) { Remove-Item -LiteralPath (Join-Path $Programs "versions\$($script:NewVersion)") -Recurse -Force -ErrorAction SilentlyContinue }
    $wanted = Get-FirstLine (Join-Path $Programs "versions\$($script:OldVersion)\NODE")
    if ($script:NewRuntime -and $wanted -ne $TidemarkNode) { Remove-Item -LiteralPath (Join-Path $Programs "runtimes\$TidemarkNode") -Recurse -Force -ErrorAction SilentlyContinue }
}

# The task names the version that it runs.
function Restore-Task([string]$Name) {
    $script:Target = Join-Path $Programs "versions\$Name"
    $script:Runtime = Join-Path $Programs "runtimes\$(Get-FirstLine (Join-Path $script:Target 'NODE'))\node.exe"
    Register-AgentTask
}

# An upgrade that was ended before it was proven, by a power cut or in the task manager, is no version to go back to: what was before it is.
function Restore-CutOff {
    foreach ($left in @(Get-ChildItem -Path (Join-Path $Programs '.staging-*\before\version') -Force -ErrorAction SilentlyContinue)) {
        $name = Get-FirstLine $left.FullName
        if (-not (Test-Path -LiteralPath (Join-Path $Programs "versions\$name\tidemark-agent.cjs"))) { continue }
        Write-Trouble "An earlier run of this was cut off before the collector had confirmed a report. First what was before it is put back (version $name)."
        $script:AsTask = [bool](Get-ScheduledTask -TaskName $ServiceName -ErrorAction SilentlyContinue)
        if ($script:AsTask) { $script:AccountSid = $LocalServiceSid }
        $script:Before = $left.DirectoryName
        # A secret that was made since is the one that the collector knows.
        $secretFile = Join-Path $Data 'agent.token'
        if (Test-Path -LiteralPath $secretFile) { Copy-Item -LiteralPath $secretFile -Destination (Join-Path $script:Before 'agent.token') -Force }
        Stop-Agent
        Restore-Before
        Set-Current $name
        if ($script:AsTask) { Restore-Task $name }
        if (-not (Start-Agent)) { Write-Trouble "It did not start ($($script:StartTrouble)); the installation goes on." }
        Remove-Item -LiteralPath $left.FullName -Force
        $script:AccountSid = $ServiceSid
    }
}

# Starts it and waits for the collector's word.
function Confirm-Start {
    $since = [long]([DateTime]::UtcNow - [DateTime]'1970-01-01').TotalMilliseconds
    $seconds = 60
    if ($env:TIDEMARK_CONFIRM_SECONDS -match '^\d{1,4}$') { $seconds = [int]$env:TIDEMARK_CONFIRM_SECONDS }
    Write-Step 'Starting the service'
    if (-not (Start-Agent)) {
        Write-LastLines
        Stop-With 'serviceNotStarted' "The service did not start ($($script:StartTrouble)). Put that right, then: Start-Service $ServiceName"
    }
    Write-Step 'Waiting for the collector to confirm a report'
    $done = Invoke-Agent @('confirm', '--config', (Join-Path $Data 'agent.yaml'), '--since', "$since", '--timeout', "$seconds") ($seconds + 60)
    if ($done.Code -eq 0) { return $done.Output.Trim() }
    Write-LastLines
    $sentence = 'The collector has not confirmed a report of this node.'
    if (-not $script:Installed) { $sentence += ' The agent goes on trying; how it stands: tidemark-agent status' }
    Stop-Program $done 'notConfirmed' $sentence
}

function Write-LastLines {
    $log = Join-Path $Data 'logs\agent.log'
    if (Test-Path -LiteralPath $log) { Get-Content -LiteralPath $log -Tail 15 -ErrorAction SilentlyContinue | ForEach-Object { Write-Detail $_ } }
}

# The versions but the current one and the one before it, runtimes that neither wants, and service programs of earlier.
function Remove-Old {
    $kept = $script:NewVersion, $script:OldVersion
    $wanted = @($kept | Where-Object { $_ } | ForEach-Object { Get-FirstLine (Join-Path $Programs "versions\$_\NODE") })
    $old = @(Get-ChildItem -LiteralPath (Join-Path $Programs 'versions') | Where-Object { $_.Name -notin $kept })
    # Run again without a new version, the one before is the only other that there is.
    if ($script:NewVersion -eq $script:OldVersion) { $old = @($old | Sort-Object LastWriteTimeUtc -Descending | Select-Object -Skip 1) }
    $wanted += @(Get-ChildItem -LiteralPath (Join-Path $Programs 'versions') | Where-Object { $_.Name -notin @($old | ForEach-Object { $_.Name }) } | ForEach-Object { Get-FirstLine (Join-Path $_.FullName 'NODE') })
    $old += @(Get-ChildItem -LiteralPath (Join-Path $Programs 'runtimes') | Where-Object { $_.Name -notin $wanted })
    $old += @(Get-ChildItem -LiteralPath (Join-Path $Programs 'host') -Filter '*.old-*')
    # One that somebody still has open is left for the next time.
    foreach ($one in $old) { Remove-Item -LiteralPath $one.FullName -Recurse -Force -ErrorAction SilentlyContinue }
}

# ------------------------------------------------------------------------------------------------ the search path

# The value as it was written, %SystemRoot% and all: what the environment functions read and write back has it replaced.
function Get-MachinePath($Key) { [string]$Key.GetValue('Path', '', [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames) }

function Add-ToPath {
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey('SYSTEM\CurrentControlSet\Control\Session Manager\Environment', $true)
    try {
        $path = Get-MachinePath $key
        $own = Join-Path $Programs 'bin'
        if (@($path -split ';') -contains $own) { return }
        $key.SetValue('Path', ($path.TrimEnd(';') + ';' + $own), [Microsoft.Win32.RegistryValueKind]::ExpandString)
        $env:Path = $env:Path.TrimEnd(';') + ';' + $own
    }
    finally { $key.Dispose() }
}

# ------------------------------------------------------------------------------------------------ the whole

function Install-Agent {
    $begun = [Diagnostics.Stopwatch]::StartNew()
    $script:AccountSid = $ServiceSid
    if (-not $DryRun) { Restore-CutOff }
    Read-Token
    Read-Installed
    Select-Server
    if ($DryRun) { Write-Plan; return }
    $script:Stage = 'begun'
    $script:MadeData = $script:MadeService = $script:MadeTarget = $false
    $script:OldHost = ''
    $script:MadePrograms = -not (Test-Path -LiteralPath $Programs)
    New-Staging
    try {
        Write-Step "Reaching $($script:Collector)"
        Receive-Authority
        Receive-List
        Receive-Runtime
        Test-Signature
        Receive-Agent
        Save-Before
        $script:Stage = 'files'
        Install-Files
        $hostProgram = New-HostProgram
        if (-not $hostProgram) { $script:AccountSid = $LocalServiceSid }
        $file = Join-Path $Programs 'bin\tidemark-agent.cmd'
        [IO.File]::WriteAllText($file, [IO.File]::ReadAllText($file).Replace('@ACCOUNT@', $script:AccountSid))
        New-DataFolder
        Set-Configuration
        Register-Node
        Protect-Files
        Switch-Version $hostProgram
        Complete-Installation $begun
        $script:Stage = 'done'
    }
    finally {
        # Also when somebody presses Ctrl-C.
        if ($script:Stage -ne 'done') { Undo-Installation }
        Remove-Item -LiteralPath $script:Staging -Recurse -Force -ErrorAction SilentlyContinue
        if ($script:MadePrograms) {
            Remove-Empty $Programs
            Remove-Empty ([IO.Path]::GetDirectoryName($Programs))
        }
    }
}

# Beside what it becomes, so that moving is renaming; for administrators alone, so that nobody changes what was checked.
function New-Staging {
    if ($script:MadePrograms) { New-Item -ItemType Directory -Path $Programs | Out-Null }
    # Of installations that were killed: the lock says that none is under way.
    Get-ChildItem -LiteralPath $Programs -Filter '.staging-*' -Force | Remove-Item -Recurse -Force
    $script:Staging = Join-Path $Programs ".staging-$PID"
    $script:Before = Join-Path $script:Staging 'before'
    New-Item -ItemType Directory -Path $script:Staging | Out-Null
}

function Complete-Installation($Begun) {
    Add-ToPath
    if ($NoStart) {
        Write-Host "Installed version $TidemarkVersion and not started, as asked: nothing is reported yet. It starts with the machine, or now by: Start-Service $ServiceName"
        return
    }
    $page = Confirm-Start
    # From here on there is nothing to go back from.
    Remove-Item -LiteralPath (Join-Path $script:Before 'version') -Force -ErrorAction SilentlyContinue
    Remove-Old
    Write-Host $page
    $seconds = [Math]::Round($Begun.Elapsed.TotalSeconds)
    if ($script:Pending -or $page -match 'waits to be approved') { Write-Host "Installed version $TidemarkVersion in $seconds s; it waits to be approved, as said above." }
    else { Write-Host "Installed version $TidemarkVersion in $seconds s; the collector has confirmed a report of this node." }
}

# Says what would be done. Looks, and changes nothing.
function Write-Plan {
    Write-Host 'This is what would be done; nothing is changed.'
    Write-Step "Reach $($script:Collector) and download version $TidemarkVersion of the agent from it"
    if (Test-Path -LiteralPath (Join-Path $Programs "runtimes\$TidemarkNode\node.exe")) { Write-Detail "Node.js $TidemarkNode is here already" }
    else { Write-Detail "and Node.js $TidemarkNode for Windows, checked by its sum and the collector's signature" }
    Write-Step "Put the program into $Programs\versions\$TidemarkVersion and its command into the search path"
    $given = @(Get-GivenOptions)
    if ($given.Count -gt 0) { Write-Step "Change $Data\agent.yaml: $given" }
    if (Test-PostgresAuto) { Write-Step 'Make a role for the agent in the PostgreSQL servers of this machine, and watch them' }
    if ($TokenFile) { Write-Step "Enrol with $TokenFile" }
    elseif (-not (Test-Path -LiteralPath (Join-Path $Data 'agent.token'))) { Write-Step 'Ask to join: someone has to approve this node' }
    Write-Step "Compile the service's program and make the service $ServiceName (delayed automatic start, restarted when it ends)"
    if ($NoStart) { return }
    if ($script:Installed) { Write-Step "Switch from version $($script:OldVersion), restart, and go back if the collector confirms no report" }
    else { Write-Step 'Start it and wait for the collector to confirm a report' }
}

# ------------------------------------------------------------------------------------------------ removal
# The same in agent-uninstall-windows.ps1, to the letter: a test compares.
# >>> removal

$ServiceName = 'TidemarkAgent'
$Programs = "$env:ProgramFiles\Tidemark\Agent"
$Data = "$env:ProgramData\Tidemark"
$PrivateFiles = 'agent.yaml', 'agent.token', 'ca.pem'
$SystemSid = 'S-1-5-18'
$LocalServiceSid = 'S-1-5-19'
$AdministratorsSid = 'S-1-5-32-544'
# NT SERVICE\TidemarkAgent: made of the service's name, the same on every machine.
$ServiceSid = 'S-1-5-80-3930334950-4154590815-2052166833-2277091115-995463282'

# Does one step of the removal, or says it; what is gone already is no failure.
function Invoke-Change([string]$Words, [scriptblock]$Change) {
    if ($DryRun) { Write-Host "    $Words" }
    else { & $Change }
}

# The configuration, the secrets, and the passwords of PostgreSQL roles that were put beside them.
function Get-PrivateFiles {
    $PrivateFiles | ForEach-Object { "$Data\$_" } | Where-Object { Test-Path -LiteralPath $_ }
    Get-ChildItem -Path "$Data\*.password" -ErrorAction SilentlyContinue | ForEach-Object { $_.FullName }
}

function Unregister-AgentTask {
    if (Get-ScheduledTask -TaskName $ServiceName -ErrorAction SilentlyContinue) {
        Invoke-Change "remove the scheduled task $ServiceName" { Unregister-ScheduledTask -TaskName $ServiceName -Confirm:$false }
    }
}

function Remove-FromPath {
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey('SYSTEM\CurrentControlSet\Control\Session Manager\Environment', $true)
    try {
        $path = [string]$key.GetValue('Path', '', [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames)
        $own = "$Programs\bin"
        $kept = @($path -split ';' | Where-Object { $_ -ne $own }) -join ';'
        if ($kept -ne $path) { $key.SetValue('Path', $kept, [Microsoft.Win32.RegistryValueKind]::ExpandString) }
    }
    finally { $key.Dispose() }
}

function Remove-AgentService {
    $service = Get-Service -Name $ServiceName -ErrorAction SilentlyContinue
    if (-not $service) { return }
    if ($service.Status -ne 'Stopped') {
        Stop-Service -Name $ServiceName -Force -ErrorAction SilentlyContinue
        try { $service.WaitForStatus('Stopped', [TimeSpan]::FromSeconds(20)) }
        catch { Write-Host "The service $ServiceName does not stop: it is removed when its process ends." }
    }
    # By its whole path and name: `sc` alone means Set-Content here.
    & "$env:SystemRoot\System32\sc.exe" delete $ServiceName | Out-Null
}

function Remove-Program {
    Invoke-Change "stop and remove the service $ServiceName" { Remove-AgentService }
    Unregister-AgentTask
    Invoke-Change "remove the source $ServiceName of the event log" {
        try { if ([Diagnostics.EventLog]::SourceExists($ServiceName)) { [Diagnostics.EventLog]::DeleteEventSource($ServiceName) } }
        catch { Write-Host "The source $ServiceName of the event log could not be removed ($($_.Exception.GetBaseException().Message))." }
    }
    Invoke-Change 'take the command out of the search path' { Remove-FromPath }
    Invoke-Change "remove $Programs" { Remove-Tree $Programs }
    $parent = [IO.Path]::GetDirectoryName($Programs)
    Invoke-Change "remove $parent, if nothing else is in it" { Remove-Empty $parent }
}

# A program that has just ended may still be held for a moment by a virus scanner.
function Remove-Tree([string]$Path) {
    for ($attempt = 1; (Test-Path -LiteralPath $Path) -and $attempt -le 10; $attempt++) {
        Remove-Item -LiteralPath $Path -Recurse -Force -ErrorAction SilentlyContinue
        if (Test-Path -LiteralPath $Path) { Start-Sleep -Milliseconds 500 }
    }
    if (Test-Path -LiteralPath $Path) { Write-Host "$Path could not be removed whole: something in it is in use. Remove it by hand." }
}

function Remove-Empty([string]$Path) {
    if ((Test-Path -LiteralPath $Path) -and -not (Get-ChildItem -LiteralPath $Path -Force)) { Remove-Item -LiteralPath $Path -Force }
}

function Uninstall-Agent {
    Write-Host '==> Removing the service and the program'
    Remove-Program
    if ($Purge) {
        Write-Host '==> Removing its configuration, secret and waiting reports'
        foreach ($path in @("$Data\agent", "$Data\logs") + @(Get-PrivateFiles)) { Invoke-Change "remove $path" { Remove-Tree $path } }
        # A collector may live here too.
        Invoke-Change "remove $Data, if nothing else is in it" { Remove-Empty $Data }
        Write-Host 'Removed, with everything that belonged to it. In the collector the node stays until: tidemark-collector nodes retire NAME'
    }
    else { Write-Host "Removed. Its configuration, secret and waiting reports stay in ${Data}: -Uninstall -Purge removes these too." }
}
# <<< removal

function Invoke-Main {
    if ($Help) { Write-Host $HelpText; return }
    Test-Options
    Test-System
    Test-Administrator
    [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor 3072
    $mutex = $null
    $held = $false
    try {
        if (-not $DryRun) {
            $mutex = New-Object Threading.Mutex $false, 'Global\TidemarkAgentInstall'
            try { $held = $mutex.WaitOne(0) } catch [Threading.AbandonedMutexException] { $held = $true }
            if (-not $held) { Stop-With 'installationUnderWay' 'Another installation is under way. Wait until it is done, then run this again.' }
        }
        if ($Uninstall) { Uninstall-Agent } else { Install-Agent }
    }
    finally {
        if ($held) { $mutex.ReleaseMutex() }
        if ($mutex) { $mutex.Dispose() }
    }
}

$ErrorActionPreference = 'Stop'
# Its bar makes downloads in 5.1 many times slower.
$ProgressPreference = 'SilentlyContinue'
$script:Surplus = @($args)
$script:ExitCode = $Exit.ok
$script:Sentence = ''
try { Invoke-Main }
catch {
    if (-not $script:Sentence) {
        $script:ExitCode = $Exit.failed
        if (Test-DiskFull $_.Exception) { $script:ExitCode = $Exit.noRoom }
        $script:Sentence = "This failed: $($_.Exception.GetBaseException().Message) (line $($_.InvocationInfo.ScriptLineNumber)). Nothing was left half done; run this again once it is put right."
    }
    Write-Trouble $script:Sentence
}
exit $script:ExitCode
