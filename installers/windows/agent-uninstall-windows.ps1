# Removes the Tidemark agent from a Windows machine. Its configuration, its secret and the reports that wait stay, unless -Purge says
# otherwise. Windows PowerShell 5.1 and PowerShell 7; ASCII only. Needs neither the collector nor the network.
param([switch]$Purge, [switch]$DryRun, [switch]$Help)

$HelpText = @'
Removes the Tidemark agent from this machine.

  .\agent-uninstall-windows.ps1 [-Purge] [-DryRun] [-Help]          in a PowerShell of an administrator

  -Purge    remove its configuration, secret and waiting reports as well
  -DryRun   say each step and change nothing
  -Help     this

Exit codes:
   0  done; also when there was nothing to remove
   1  something else failed; what, stands above
   2  wrong usage
  10  this system is not supported
  13  not an administrator
  34  an installation is under way
'@

# The same in agent-install-windows.ps1, to the letter: a test compares.
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
    if ($Help) { Write-Host $HelpText; return 0 }
    if ($script:Surplus.Count -gt 0) { Write-Host "There is no option '$($script:Surplus[0])'. See -Help."; return 2 }
    if ([Environment]::OSVersion.Platform -ne [PlatformID]::Win32NT -or -not [Environment]::Is64BitProcess) {
        Write-Host 'This script is for a 64-bit Windows, in its 64-bit PowerShell; Linux has agent-uninstall-linux.sh.'
        return 10
    }
    $principal = New-Object Security.Principal.WindowsPrincipal ([Security.Principal.WindowsIdentity]::GetCurrent())
    # By its SID: the group has another name in other languages.
    if (-not $DryRun -and -not $principal.IsInRole((New-Object Security.Principal.SecurityIdentifier $AdministratorsSid))) {
        Write-Host 'This needs an administrator: open PowerShell with "Run as administrator" and run it again there.'
        return 13
    }
    $mutex = New-Object Threading.Mutex $false, 'Global\TidemarkAgentInstall'
    $held = $false
    try {
        try { $held = $mutex.WaitOne(0) } catch [Threading.AbandonedMutexException] { $held = $true }
        if (-not $held) { Write-Host 'An installation is under way. Wait until it is done, then run this again.'; return 34 }
        Uninstall-Agent | Out-Null
        return 0
    }
    finally {
        if ($held) { $mutex.ReleaseMutex() }
        $mutex.Dispose()
    }
}

$ErrorActionPreference = 'Stop'
$script:Surplus = @($args)
try { $code = Invoke-Main }
catch {
    Write-Host "This failed: $($_.Exception.GetBaseException().Message) (line $($_.InvocationInfo.ScriptLineNumber)). Run this again once it is put right."
    $code = 1
}
exit $code
