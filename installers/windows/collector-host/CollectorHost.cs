// The Windows service TidemarkCollector: keeps the collector's Node.js process running, by the same keeper, job and log as the agent's
// (installers/windows/host). Compiled on the machine by the compiler of the .NET Framework, so nothing here is newer than C# 5.
using System;
using System.Diagnostics;
using System.IO;
using System.ServiceProcess;
using System.Text.RegularExpressions;

namespace Tidemark.Agent
{
    public static class Program
    {
        public const string ServiceName = "TidemarkCollector";

        // Without arguments: as a service. --check: can this program run here at all? --console: until standard input closes.
        public static int Main(string[] arguments)
        {
            if (arguments.Length == 0)
            {
                ServiceBase.Run(new CollectorService(Installation.OfThisProgram()));
                return 0;
            }
            if (arguments[0] == "--check")
            {
                Console.Out.WriteLine("ok");
                return 0;
            }
            if (arguments[0] == "--console" && arguments.Length == 3)
            {
                using (Host host = new Host(new Installation(arguments[1], arguments[2])))
                {
                    host.Start();
                    while (Console.In.Read() != -1) { }
                    host.Stop();
                }
                return 0;
            }
            Console.Error.WriteLine("usage: TidemarkCollectorHost [--check | --console PROGRAM-DIRECTORY DATA-DIRECTORY]");
            return 2;
        }
    }

    // What Windows' service control manager talks to. RUNNING is reported as soon as OnStart returns, which waits for nothing.
    public class CollectorService : ServiceBase
    {
        private readonly Host host;

        public CollectorService(Installation installation)
        {
            ServiceName = Program.ServiceName;
            CanStop = true;
            CanShutdown = true;
            AutoLog = false;
            host = new Host(installation);
        }

        protected override void OnStart(string[] arguments)
        {
            host.Start();
        }

        protected override void OnStop()
        {
            try { RequestAdditionalTime(Host.GraceMilliseconds + 5000); } catch (InvalidOperationException) { }
            host.Stop();
        }

        protected override void OnShutdown()
        {
            host.Stop();
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing) host.Dispose();
            base.Dispose(disposing);
        }
    }

    // The parts that live as long as the service: log and child.
    public sealed class Host : IDisposable
    {
        // What is under way is written before the collector ends.
        public const int GraceMilliseconds = 15000;
        private readonly RotatedLog log;
        private readonly Journal journal;
        private readonly ChildKeeper keeper;
        private bool stopped;

        public Host(Installation installation)
        {
            log = new RotatedLog(installation.LogFile, RotatedLog.SizeMaximum, RotatedLog.FilesMaximum);
            journal = new Journal(log);
            KeeperTimes times = new KeeperTimes();
            times.Grace = GraceMilliseconds;
            keeper = new ChildKeeper(delegate { return installation.StartOfChild(); }, times, log, journal);
        }

        public void Start()
        {
            journal.Note("the service starts");
            keeper.Start();
        }

        public void Stop()
        {
            if (stopped) return;
            stopped = true;
            keeper.Stop();
            journal.Note("the service has stopped");
        }

        public void Dispose()
        {
            Stop();
            log.Dispose();
        }
    }

    // The host's own words: always into the log file, and into Windows' event log what somebody should hear of.
    public sealed class Journal
    {
        private readonly RotatedLog log;

        public Journal(RotatedLog log)
        {
            this.log = log;
        }

        public void Note(string sentence)
        {
            log.WriteLine("host", sentence);
        }

        public void Warn(string sentence)
        {
            log.WriteLine("host", sentence);
            // The installer makes the source. A full event log, or none, must not end the service.
            try { EventLog.WriteEntry(Program.ServiceName, sentence.Replace("The agent", "The collector"), EventLogEntryType.Warning, 1); }
            catch (Exception) { }
        }
    }

    // Where things are, and how the collector is started from them. The file `current` names the version, and is read at every start: an
    // upgrade writes a new directory and then that file, so no file in use is ever replaced.
    public sealed class Installation
    {
        private static readonly Regex Plain = new Regex("^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$");
        private readonly string programs;
        private readonly string data;

        // programs: %ProgramFiles%\Tidemark\Collector; data: %ProgramData%\Tidemark.
        public Installation(string programs, string data)
        {
            this.programs = programs;
            this.data = data;
        }

        // This program lies in the folder `host` of the installation.
        public static Installation OfThisProgram()
        {
            string own = AppDomain.CurrentDomain.BaseDirectory.TrimEnd('\\', '/');
            string data = Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.CommonApplicationData), "Tidemark");
            return new Installation(Path.GetDirectoryName(own), data);
        }

        public static bool IsWindows
        {
            get { return Environment.OSVersion.Platform == PlatformID.Win32NT; }
        }

        public string LogFile
        {
            get { return Path.Combine(Path.Combine(data, "collector-logs"), "collector.log"); }
        }

        // Throws IOException with a sentence when the installation is not whole.
        public ProcessStartInfo StartOfChild()
        {
            string file = Path.Combine(programs, "current");
            string version = File.ReadAllText(file).Trim();
            if (!Plain.IsMatch(version)) throw new IOException(file + " does not name a version: run the installer again");
            string directory = Path.Combine(Path.Combine(programs, "versions"), version);
            string node = Path.Combine(Path.Combine(directory, "runtime"), IsWindows ? "node.exe" : "node");
            string script = Path.Combine(Path.Combine(Path.Combine(directory, "collector"), "dist"), "main.js");
            foreach (string needed in new string[] { node, script })
                if (!File.Exists(needed)) throw new IOException(needed + " is missing: run the installer again");
            string config = Path.Combine(data, "collector.yaml");
            ProcessStartInfo start = new ProcessStartInfo(node, "\"" + script + "\" run --config \"" + config + "\"");
            start.UseShellExecute = false;
            start.CreateNoWindow = true;
            start.WindowStyle = ProcessWindowStyle.Hidden;
            start.WorkingDirectory = directory;
            start.RedirectStandardInput = true;
            start.RedirectStandardOutput = true;
            start.RedirectStandardError = true;
            // What the machine sets for Node.js, or for other programs' databases, is not meant for this one.
            foreach (string name in new string[] { "NODE_OPTIONS", "NODE_PATH", "NODE_ENV", "DATABASE_URL", "TIDEMARK_CONFIG" })
                start.EnvironmentVariables.Remove(name);
            start.EnvironmentVariables["TIDEMARK_STOP_WITH_STDIN"] = "1";
            return start;
        }
    }
}
