# Installs, upgrades and removes the Tidemark collector as a Windows service, from the unpacked release archive that it lies in: no npm, no
# internet. The collector brings no PostgreSQL of its own to Windows: it stores in one that you name. Only functions are defined before the
# last lines. Windows PowerShell 5.1 and PowerShell 7, Server Core included; ASCII only. No secret ever stands on a command line.
param(
    [string]$Listen, [string]$PublicUrl, [string]$DatabaseUrlFile, [string]$Enrollment, [string]$Tls, [string]$TlsCert, [string]$TlsKey,
    [string]$Wait, [string]$BackupDir, [switch]$NoBackup,
    [switch]$Update, [switch]$NoStart, [switch]$DryRun, [switch]$Uninstall, [switch]$Purge, [switch]$Help
)

# The same numbers as everywhere in Tidemark: docs/reference/installer.md.
$Exit = @{
    ok = 0; failed = 1; usage = 2
    unsupportedSystem = 10; noRoom = 12; noRights = 13; checksumWrong = 15
    serviceNotStarted = 30; rolledBack = 32; installationUnderWay = 34
    portInUse = 75; configuration = 78
}

$HelpText = @'
Installs the Tidemark collector on this machine as a service, from the unpacked release archive, or upgrades it when it is there:
what is not given stays as it is.

  .\collector-install-windows.ps1 -DatabaseUrlFile FILE [options]          in a PowerShell of an administrator

  -DatabaseUrlFile FILE  file with the postgresql:// address of your PostgreSQL (15 or later); needed the first time
  -Listen ADDRESS        where it listens (default 0.0.0.0:5000)
  -PublicUrl URL         what agents and people call it: stands in every link and command it gives
  -Enrollment POLICY     machines that ask to join without an enrolment string: open, approve (default) or token
  -Tls KIND              off, files or self-made; with -TlsCert FILE and -TlsKey FILE
  -Update                upgrade and change nothing else
  -Wait SECONDS          how long a start, with its migration, may take (default 300)
  -BackupDir DIR         where the data directory is copied to before an upgrade (default: backups in the data folder)
  -NoBackup              no such copy
  -NoStart               install, and do not start it
  -DryRun                say each step and change nothing
  -Uninstall             remove the program; data and configuration stay
  -Purge                 with -Uninstall: remove these as well
  -Help                  this

The database itself is yours to back up: do that before an upgrade. A version refuses a database that a newer one has migrated.

Exit codes:
   0  done; the collector has said that it is healthy
   1  something else failed; what, stands above
   2  wrong usage
  10  this system is not supported
  12  not enough room
  13  not an administrator, or a folder that somebody else has made
  15  the archive is not as it was made
  30  the service did not come up
  32  the new version did not come up, the one before was put back
  34  another installation is under way
  75  the port is taken
  78  the configuration is wrong
'@

# ------------------------------------------------------------------------------------------------ what is said

function Write-Step([string]$Text) { Write-Host "==> $Text" }
function Write-Trouble([string]$Text) { Write-Host "collector-install-windows.ps1: $Text" -ForegroundColor Yellow }

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
        if ($name -like 'NODE_*' -or $name -like 'TIDEMARK_*' -or $name -eq 'DATABASE_URL') { $info.EnvironmentVariables.Remove($name) }
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

# A command of the collector, of the release in a folder.
function Invoke-Collector([string]$Release, [string[]]$Arguments, [int]$TimeoutSeconds = 120) {
    Invoke-Program (Join-Path $Release 'runtime\node.exe') (@(Join-Path $Release 'collector\dist\main.js') + $Arguments) $TimeoutSeconds
}

# Ends with the program's own code when it is one that installers have, and its words before.
function Stop-Program($Done, [string]$Otherwise, [string]$Sentence) {
    $said = @($Done.Errors.Trim(), $Done.Output.Trim()) | Where-Object { $_ }
    Write-Trouble ($said -join ' ')
    $name = @($Exit.Keys | Where-Object { $Exit[$_] -eq $Done.Code -and $Done.Code -gt 1 })
    if ($name.Count -eq 1) { Stop-With $name[0] $Sentence }
    Stop-With $Otherwise $Sentence
}

# ------------------------------------------------------------------------------------------------ what was asked for, and this machine

function Test-Options {
    if ($script:Surplus.Count -gt 0) { Stop-With 'usage' "There is no option '$($script:Surplus[0])'. See -Help." }
    if ($Purge -and -not $Uninstall) { Stop-With 'usage' 'Removing everything is -Uninstall -Purge; -Purge alone does nothing.' }
    if ($Update -and (@(Get-GivenOptions).Count -gt 0 -or $DatabaseUrlFile)) { Stop-With 'usage' 'With -Update nothing is changed but the version.' }
    if ($Wait -and $Wait -notmatch '^\d{1,5}$') { Stop-With 'usage' "-Wait '$Wait' is no number of seconds." }
    if ($DatabaseUrlFile -and -not (Test-Path -LiteralPath $DatabaseUrlFile -PathType Leaf)) { Stop-With 'usage' "There is no file $DatabaseUrlFile." }
}

# For `tidemark-collector configure`.
function Get-GivenOptions {
    if ($Listen) { '--listen'; $Listen }
    if ($PublicUrl) { '--public-url'; $PublicUrl }
    if ($Enrollment) { '--enrollment'; $Enrollment }
    if ($Tls) { '--tls'; $Tls }
    if ($TlsCert) { '--tls-cert'; $TlsCert }
    if ($TlsKey) { '--tls-key'; $TlsKey }
}

function Test-System {
    if ([Environment]::OSVersion.Platform -ne [PlatformID]::Win32NT) { Stop-With 'unsupportedSystem' 'This script is for Windows; Linux has collector-install-linux.sh.' }
    if ($ExecutionContext.SessionState.LanguageMode -ne 'FullLanguage') {
        Stop-With 'unsupportedSystem' "A policy of this machine restricts PowerShell here ($($ExecutionContext.SessionState.LanguageMode)): allow this script in it."
    }
    if (-not [Environment]::Is64BitProcess -or $env:PROCESSOR_ARCHITECTURE -ne 'AMD64') {
        Stop-With 'unsupportedSystem' 'The collector needs a 64-bit Windows on x64, and the 64-bit PowerShell.'
    }
    $principal = New-Object Security.Principal.WindowsPrincipal ([Security.Principal.WindowsIdentity]::GetCurrent())
    # By its SID: the group has another name in other languages.
    if (-not $principal.IsInRole((New-Object Security.Principal.SecurityIdentifier $AdministratorsSid)) -and -not $DryRun) {
        Stop-With 'noRights' 'This needs an administrator: open PowerShell with "Run as administrator" and run it again there.'
    }
}

# The archive is whole, and its programs run here.
function Test-Archive {
    $script:Version = Get-FirstLine (Join-Path $Here 'VERSION')
    $sums = Join-Path $Here 'SHA256SUMS'
    if ($script:Version -notmatch '^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$' -or -not (Test-Path -LiteralPath $sums)) {
        Stop-With 'usage' "$Here is not an unpacked release of Tidemark. Unpack tidemark-VERSION-win-x64.zip and run the collector-install-windows.ps1 in it."
    }
    foreach ($line in [IO.File]::ReadAllLines($sums)) {
        if ($line -notmatch '^([0-9a-f]{64})  (.+)$') { continue }
        $file = Join-Path $Here ($Matches[2] -replace '/', '\')
        $sum = $Matches[1]
        if (-not (Test-Path -LiteralPath $file) -or (Get-FileHash -LiteralPath $file -Algorithm SHA256).Hash -ne $sum) {
            Stop-With 'checksumWrong' "The release in $Here is not as it was made ($file). Unpack it again, or fetch it again."
        }
    }
    $done = Invoke-Collector $Here @('--version')
    if ($done.Code -ne 0) {
        Stop-With 'unsupportedSystem' "The collector does not run here ($($done.Errors.Trim())): a policy for programs (AppLocker, WDAC) or a virus scanner may forbid it."
    }
}

function Get-FirstLine([string]$File) {
    if (-not (Test-Path -LiteralPath $File)) { return '' }
    $lines = @([IO.File]::ReadAllLines($File) | Where-Object { $_.Trim() })
    if ($lines.Count -eq 0) { return '' }
    $lines[0].Trim()
}

function Test-Room {
    $size = (Get-ChildItem -LiteralPath $Here -Recurse -File | Measure-Object -Property Length -Sum).Sum + 67108864
    $free = (New-Object IO.DriveInfo ([IO.Path]::GetPathRoot($Programs))).AvailableFreeSpace
    if ($free -lt $size) {
        Stop-With 'noRoom' "Not enough room for ${Programs}: $([Math]::Ceiling($size / 1048576)) MB are needed and $([Math]::Floor($free / 1048576)) MB are free. Free some, then run this again."
    }
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

# Everybody may make folders in ProgramData: one that somebody else made first is not trusted with a secret. An agent may live here too.
function New-DataFolders {
    $everything = @($SystemSid, 'FullControl'), @($AdministratorsSid, 'FullControl')
    if (Test-Path -LiteralPath $Shared) {
        $owner = (Get-Acl -LiteralPath $Shared).GetOwner([Security.Principal.SecurityIdentifier]).Value
        $own = [Security.Principal.WindowsIdentity]::GetCurrent().User.Value
        $link = (Get-Item -LiteralPath $Shared -Force).Attributes -band [IO.FileAttributes]::ReparsePoint
        if ($link -or $owner -notin $SystemSid, $AdministratorsSid, $own) {
            Stop-With 'noRights' "The folder $Shared was not made by an administrator (its owner is $owner): look at what is in it, remove it, then run this again."
        }
    }
    else { New-Item -ItemType Directory -Path $Shared | Out-Null }
    $acl = Get-Acl -LiteralPath $Shared
    if (-not $acl.AreAccessRulesProtected) { $acl = New-Rights (New-Object Security.AccessControl.DirectorySecurity) $everything }
    $who = New-Object Security.Principal.SecurityIdentifier $ServiceSid
    $acl.SetAccessRule((New-Object Security.AccessControl.FileSystemAccessRule $who, 'ReadAndExecute', 'None', 'None', 'Allow'))
    Set-Rights $Shared $acl
    foreach ($folder in $Data, $Logs) {
        if (-not (Test-Path -LiteralPath $folder)) { New-Item -ItemType Directory -Path $folder | Out-Null }
        Set-Rights $folder (New-Rights (New-Object Security.AccessControl.DirectorySecurity) ($everything + , @($ServiceSid, 'Modify')))
    }
}

# The configuration and the database's address: for administrators and the service, and for nobody else.
function Protect-Files {
    foreach ($file in $Config, $UrlFile) {
        if (-not (Test-Path -LiteralPath $file)) { continue }
        $rules = @($SystemSid, 'FullControl'), @($AdministratorsSid, 'FullControl'), @($ServiceSid, 'Read')
        Set-Rights $file (New-Rights (New-Object Security.AccessControl.FileSecurity) $rules)
    }
}

# ------------------------------------------------------------------------------------------------ the service

function Get-CollectorService { Get-Service -Name $ServiceName -ErrorAction SilentlyContinue }

# The service's program is compiled here, by the compiler that every Windows has with its .NET Framework.
function New-HostProgram {
    $compiler = Join-Path $env:SystemRoot 'Microsoft.NET\Framework64\v4.0.30319\csc.exe'
    if (-not (Test-Path -LiteralPath $compiler)) { Stop-With 'unsupportedSystem' "The compiler of the .NET Framework ($compiler) is not here; the service needs it." }
    $program = Join-Path $script:Staging 'TidemarkCollectorHost.exe'
    $sources = @('host\ChildKeeper.cs', 'host\Job.cs', 'host\RotatedLog.cs', 'collector-host\CollectorHost.cs') | ForEach-Object { Join-Path $Here "installers\windows\$_" }
    $arguments = @('/nologo', '/target:exe', '/optimize+', '/platform:anycpu', '/langversion:5', "/out:$program", '/reference:System.Core.dll', '/reference:System.ServiceProcess.dll')
    $done = Invoke-Program $compiler ($arguments + $sources)
    if ($done.Code -ne 0) { Stop-With 'unsupportedSystem' "The service's program could not be compiled: $($done.Output.Trim())" }
    if ((Invoke-Program $program @('--check')).Output.Trim() -ne 'ok') { Stop-With 'unsupportedSystem' "The service's program was compiled and may not be run here (AppLocker, WDAC?). Allow $Programs in it." }
    $program
}

# Renaming works on a program that runs, replacing does not.
function Install-HostProgram([string]$Program) {
    $place = Join-Path $Programs 'host\TidemarkCollectorHost.exe'
    if (Test-Path -LiteralPath $place) { Move-Item -LiteralPath $place -Destination "$place.old-$([DateTime]::UtcNow.Ticks)" }
    Move-Item -LiteralPath $Program -Destination $place
    $place
}

function Register-CollectorService([string]$Program) {
    $path = '"' + $Program + '"'
    $verb = 'config'
    if (-not (Get-CollectorService)) {
        Write-Step "Making the service $ServiceName"
        $verb = 'create'
    }
    Invoke-ServiceControl @($verb, $ServiceName, 'type=', 'own', 'start=', 'delayed-auto', 'binPath=', $path, 'obj=', "NT SERVICE\$ServiceName", 'DisplayName=', 'Tidemark Collector')
    Invoke-ServiceControl @('description', $ServiceName, 'Collects what Tidemark agents report.')
    Invoke-ServiceControl @('sidtype', $ServiceName, 'unrestricted')
    Invoke-ServiceControl @('failure', $ServiceName, 'reset=', '86400', 'actions=', 'restart/5000/restart/5000/restart/5000')
    # Without this an end that is no crash counts as meant.
    Invoke-ServiceControl @('failureflag', $ServiceName, '1')
    try {
        if (-not [Diagnostics.EventLog]::SourceExists($ServiceName)) { [Diagnostics.EventLog]::CreateEventSource($ServiceName, 'Application') }
    }
    catch { Write-Trouble "The event log has no source $ServiceName ($($_.Exception.GetBaseException().Message)): its errors are in $Logs alone." }
}

function Stop-Collector {
    $service = Get-CollectorService
    if (-not $service -or $service.Status -eq 'Stopped') { return }
    Write-Step 'Stopping the collector (agents keep their reports meanwhile)'
    Stop-Service -Name $ServiceName -Force -ErrorAction SilentlyContinue
    try { (Get-CollectorService).WaitForStatus('Stopped', [TimeSpan]::FromSeconds(30)) }
    catch { Stop-With 'serviceNotStarted' "The service $ServiceName does not stop: end its process in the task manager, then run this again." }
}

# Starts the service and waits until the collector that was just started is healthy; gives what it says then, or nothing.
function Start-Collector {
    $since = [long]([DateTime]::UtcNow - [DateTime]'1970-01-01').TotalSeconds
    $seconds = 300
    if ($Wait) { $seconds = [int]$Wait }
    Start-Service -Name $ServiceName -ErrorAction SilentlyContinue
    $release = Join-Path $Programs "versions\$(Get-FirstLine (Join-Path $Programs 'current'))"
    $done = Invoke-Collector $release @('wait', '--config', $Config, '--since', "$since", '--timeout', "$seconds", '--welcome') ($seconds + 60)
    if ($done.Code -eq 0) { return $done.Output.Trim() }
    Write-Trouble $done.Errors.Trim()
    $log = Join-Path $Logs 'collector.log'
    if (Test-Path -LiteralPath $log) { Get-Content -LiteralPath $log -Tail 15 -ErrorAction SilentlyContinue | ForEach-Object { Write-Host "    $_" } }
    ''
}

# ------------------------------------------------------------------------------------------------ install and upgrade

function Install-Collector {
    Test-Archive
    Test-Room
    $script:OldVersion = Get-FirstLine (Join-Path $Programs 'current')
    if ($Update -and -not $script:OldVersion) { Stop-With 'usage' 'There is no collector here yet: run this without -Update to install it.' }
    if (-not $DatabaseUrlFile -and -not (Test-Path -LiteralPath $UrlFile)) {
        Stop-With 'usage' 'The collector brings no PostgreSQL of its own to Windows: put the postgresql:// address of yours into a file and name it with -DatabaseUrlFile.'
    }
    if ($DryRun) { Write-Plan; return }
    $script:Stage = 'begun'
    foreach ($folder in $Programs, "$Programs\versions", "$Programs\host", "$Programs\bin") {
        if (-not (Test-Path -LiteralPath $folder)) { New-Item -ItemType Directory -Path $folder | Out-Null }
    }
    Get-ChildItem -LiteralPath $Programs -Filter '.staging-*' -Force | Remove-Item -Recurse -Force
    $script:Staging = Join-Path $Programs ".staging-$PID"
    New-Item -ItemType Directory -Path $script:Staging | Out-Null
    try {
        Set-Prepared
        Copy-Release
        $hostProgram = New-HostProgram
        New-DataFolders
        $script:Stage = 'stopped'
        Stop-Collector
        Backup-Data
        $script:Stage = 'switched'
        Copy-Configuration
        Register-CollectorService (Install-HostProgram $hostProgram)
        # The service's own account exists from here on.
        New-DataFolders
        Protect-Files
        Set-Current $script:Target
        [IO.File]::WriteAllText("$Programs\bin\tidemark-collector.cmd", $Wrapper.Replace("`r`n", "`n").Replace("`n", "`r`n"))
        Complete-Installation
        $script:Stage = 'done'
    }
    finally {
        # Also when somebody presses Ctrl-C.
        if ($script:Stage -in 'stopped', 'switched') { Undo-Installation }
        Remove-Item -LiteralPath $script:Staging -Recurse -Force -ErrorAction SilentlyContinue
    }
}

$Wrapper = @'
@echo off
rem The command line of the installed Tidemark collector.
setlocal enableextensions disabledelayedexpansion
for /f "usebackq delims=" %%v in ("%~dp0..\current") do set "version=%%v"
if not defined TIDEMARK_CONFIG set "TIDEMARK_CONFIG=%ProgramData%\Tidemark\collector.yaml"
"%~dp0..\versions\%version%\runtime\node.exe" "%~dp0..\versions\%version%\collector\dist\main.js" %*
'@

# The configuration as it will be, made and checked on a copy before anything is stopped.
function Set-Prepared {
    $copy = Join-Path $script:Staging 'collector.yaml'
    $given = @(Get-GivenOptions)
    if (Test-Path -LiteralPath $Config) {
        Copy-Item -LiteralPath $Config -Destination $copy
        Copy-Item -LiteralPath $Config -Destination (Join-Path $script:Staging 'before.yaml')
    }
    else { $given = @('--data-dir', $Data) + $given }
    if (Test-Path -LiteralPath $UrlFile) { Copy-Item -LiteralPath $UrlFile -Destination (Join-Path $script:Staging 'before-url') }
    if ($DatabaseUrlFile) { $given += '--database-url-file', $UrlFile }
    $done = Invoke-Collector $Here (@('configure', '--config', $copy) + $given)
    if ($done.Code -ne 0) { Stop-Program $done 'configuration' 'Nothing was changed, for the reason above.' }
    $address = $UrlFile
    if ($DatabaseUrlFile) { $address = (Resolve-Path -LiteralPath $DatabaseUrlFile).ProviderPath }
    $done = Invoke-Collector $Here @('config', 'check', '--config', $copy, '--database-url-file', $address)
    if ($done.Code -ne 0) { Stop-Program $done 'configuration' 'Nothing was changed, for the reason above.' }
    $service = Get-CollectorService
    if (($service -and $service.Status -ne 'Stopped') -or $NoStart) { return }
    $port = 5000
    if ($done.Output -match '(?m)^listen\s+"?(?:\S*:)?(\d+)"?\s') { $port = [int]$Matches[1] }
    $holder = @(Get-NetTCPConnection -State Listen -LocalPort $port -ErrorAction SilentlyContinue)
    if ($holder.Count -gt 0) {
        $process = Get-Process -Id $holder[0].OwningProcess -ErrorAction SilentlyContinue
        Stop-With 'portInUse' "Port $port is taken by $($process.ProcessName) (process $($holder[0].OwningProcess)). Choose another: -Listen 0.0.0.0:5055 -PublicUrl http://THIS-MACHINE:5055; or stop that program."
    }
}

# Beside the old one; nothing that runs is touched, and another build of the same version is a version of its own.
function Copy-Release {
    $sum = (Get-FileHash -LiteralPath (Join-Path $Here 'SHA256SUMS') -Algorithm SHA256).Hash.ToLowerInvariant()
    $script:MadeTarget = $false
    foreach ($name in $script:Version, "$($script:Version)-$($sum.Substring(0, 8))") {
        $script:Target = $name
        $place = Join-Path $Programs "versions\$name"
        $there = Join-Path $place 'SHA256SUMS'
        if ((Test-Path -LiteralPath $there) -and (Get-FileHash -LiteralPath $there -Algorithm SHA256).Hash -eq $sum) { return }
        if (-not (Test-Path -LiteralPath $place)) { break }
    }
    Write-Step "Copying version $($script:Version) to $place"
    $staged = Join-Path $script:Staging 'release'
    Copy-Item -LiteralPath $Here -Destination $staged -Recurse
    Move-Item -LiteralPath $staged -Destination $place
    $script:MadeTarget = $true
}

function Backup-Data {
    if ($NoBackup -or -not $script:OldVersion -or $script:OldVersion -eq $script:Target -or -not (Test-Path -LiteralPath "$Data\admin-token")) { return }
    $place = $Backups
    if ($BackupDir) { $place = $BackupDir }
    Write-Step "Backing up the data directory to $place (the database is yours to back up)"
    $done = Invoke-Collector $Here @('backup', '--config', $Config, '--to', $place, '--of', $script:OldVersion) 3600
    if ($done.Code -ne 0) { Stop-Program $done 'failed' 'The backup could not be made, so nothing was upgraded.' }
}

function Copy-Configuration {
    if ($DatabaseUrlFile) { [IO.File]::WriteAllBytes($UrlFile, [IO.File]::ReadAllBytes((Resolve-Path -LiteralPath $DatabaseUrlFile).ProviderPath)) }
    [IO.File]::WriteAllBytes($Config, [IO.File]::ReadAllBytes((Join-Path $script:Staging 'collector.yaml')))
    Protect-Files
}

# Written whole beside it and put in its place: at no moment is there no current version.
function Set-Current([string]$Name) {
    $file = Join-Path $Programs 'current'
    [IO.File]::WriteAllText("$file.new", "$Name`r`n")
    if (Test-Path -LiteralPath $file) { [IO.File]::Replace("$file.new", $file, [NullString]::Value) }
    else { [IO.File]::Move("$file.new", $file) }
}

function Complete-Installation {
    if ($NoStart) {
        Write-Host "Installed version $($script:Version), not started: Start-Service $ServiceName"
        return
    }
    Write-Step 'Starting the collector'
    $said = Start-Collector
    if (-not $said) {
        # A first installation stays for a look.
        if (-not $script:OldVersion) { $script:Stage = 'done' }
        Stop-With 'serviceNotStarted' "The collector is not healthy; its log is $Logs\collector.log. Run this again once that is put right."
    }
    Write-Host $said
    foreach ($one in @(Get-ChildItem -LiteralPath "$Programs\versions" | Where-Object { $_.Name -notin $script:Target, $script:OldVersion }) + @(Get-ChildItem -LiteralPath "$Programs\host" -Filter '*.old-*')) {
        Remove-Item -LiteralPath $one.FullName -Recurse -Force -ErrorAction SilentlyContinue
    }
    Write-Host "Installed version $($script:Version)."
}

# The version before and its configuration; after a migration it refuses the database, and says so.
function Undo-Installation {
    foreach ($pair in @('before.yaml', $Config), @('before-url', $UrlFile)) {
        $copy = Join-Path $script:Staging $pair[0]
        if ($script:Stage -ne 'switched') { continue }
        if (Test-Path -LiteralPath $copy) { [IO.File]::WriteAllBytes($pair[1], [IO.File]::ReadAllBytes($copy)) }
        elseif (Test-Path -LiteralPath $pair[1]) { Remove-Item -LiteralPath $pair[1] -Force }
    }
    if (-not $script:OldVersion) { return }
    Write-Step "Going back to version $($script:OldVersion)"
    Stop-Collector
    Protect-Files
    Set-Current $script:OldVersion
    $back = Start-Collector
    if ($script:Sentence) { Write-Trouble $script:Sentence }
    if (-not $back) {
        $script:ExitCode = $Exit.serviceNotStarted
        $script:Sentence = "Version $($script:Version) did not come up, and $($script:OldVersion) does not either: if it says that the database was made by a newer Tidemark, restore your backup of the database."
        return
    }
    $script:ExitCode = $Exit.rolledBack
    $script:Sentence = "Version $($script:Version) did not come up, so version $($script:OldVersion) with its configuration was put back, and is healthy."
    if ($script:MadeTarget) { Remove-Item -LiteralPath "$Programs\versions\$($script:Target)" -Recurse -Force -ErrorAction SilentlyContinue }
}

# Says what would be done. Looks, and changes nothing.
function Write-Plan {
    Write-Host 'This is what would be done; nothing is changed.'
    Write-Step "Copy version $($script:Version) to $Programs\versions"
    $given = @(Get-GivenOptions)
    if ($given.Count -gt 0) { Write-Step "Change $Config`: $given" }
    Write-Step "Compile the service's program and make the service $ServiceName (delayed automatic start, restarted when it ends)"
    if ($script:OldVersion) { Write-Step "Back up $Data, switch from version $($script:OldVersion), and go back if the new one is not healthy" }
}

# ------------------------------------------------------------------------------------------------ removal

function Remove-Tree([string]$Path) {
    for ($attempt = 1; (Test-Path -LiteralPath $Path) -and $attempt -le 10; $attempt++) {
        Remove-Item -LiteralPath $Path -Recurse -Force -ErrorAction SilentlyContinue
        if (Test-Path -LiteralPath $Path) { Start-Sleep -Milliseconds 500 }
    }
    if (Test-Path -LiteralPath $Path) { Write-Host "$Path could not be removed whole: something in it is in use. Remove it by hand." }
}

function Uninstall-Collector {
    if ($DryRun) {
        Write-Host "Would remove the service $ServiceName and $Programs$(if ($Purge) { ", and for good $Data, $Logs, $Backups, $Config and $UrlFile" })."
        return
    }
    Write-Step 'Removing the service and the program'
    if (Get-CollectorService) {
        Stop-Collector
        Invoke-ServiceControl @('delete', $ServiceName)
    }
    try { if ([Diagnostics.EventLog]::SourceExists($ServiceName)) { [Diagnostics.EventLog]::DeleteEventSource($ServiceName) } }
    catch { Write-Trouble "The source $ServiceName of the event log could not be removed ($($_.Exception.GetBaseException().Message))." }
    Remove-Tree $Programs
    if ($Purge) {
        foreach ($path in $Data, $Logs, $Backups, $Config, $UrlFile) { Remove-Tree $path }
        # An agent may live here too.
        foreach ($path in [IO.Path]::GetDirectoryName($Programs), $Shared) {
            if ((Test-Path -LiteralPath $path) -and -not (Get-ChildItem -LiteralPath $path -Force)) { Remove-Item -LiteralPath $path -Force }
        }
        Write-Host 'Removed, with its data and its configuration. The database is yours and is as it was.'
    }
    else { Write-Host "Removed. Data and configuration stay in ${Shared}: -Uninstall -Purge removes these too." }
}

$ServiceName = 'TidemarkCollector'
$Programs = "$env:ProgramFiles\Tidemark\Collector"
$Shared = "$env:ProgramData\Tidemark"
$Data = "$Shared\collector"
$Logs = "$Shared\collector-logs"
$Backups = "$Shared\collector-backups"
$Config = "$Shared\collector.yaml"
$UrlFile = "$Shared\database-url"
$Here = $PSScriptRoot
$SystemSid = 'S-1-5-18'
$AdministratorsSid = 'S-1-5-32-544'
# NT SERVICE\TidemarkCollector: made of the service's name, the same on every machine.
$ServiceSid = 'S-1-5-80-2934915729-267041279-2515517752-3743561482-3545229928'

function Invoke-Main {
    if ($Help) { Write-Host $HelpText; return }
    Test-Options
    Test-System
    $mutex = $null
    $held = $false
    try {
        if (-not $DryRun) {
            $mutex = New-Object Threading.Mutex $false, 'Global\TidemarkCollectorInstall'
            try { $held = $mutex.WaitOne(0) } catch [Threading.AbandonedMutexException] { $held = $true }
            if (-not $held) { Stop-With 'installationUnderWay' 'Another installation is under way. Wait until it is done, then run this again.' }
        }
        if ($Uninstall) { Uninstall-Collector } else { Install-Collector }
    }
    finally {
        if ($held) { $mutex.ReleaseMutex() }
        if ($mutex) { $mutex.Dispose() }
    }
}

$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$script:Surplus = @($args)
$script:ExitCode = $Exit.ok
$script:Sentence = ''
try { Invoke-Main }
catch {
    if (-not $script:Sentence) {
        $script:ExitCode = $Exit.failed
        $script:Sentence = "This failed: $($_.Exception.GetBaseException().Message) (line $($_.InvocationInfo.ScriptLineNumber)). Run this again once it is put right."
    }
    Write-Trouble $script:Sentence
}
exit $script:ExitCode
