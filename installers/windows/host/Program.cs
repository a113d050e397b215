// The Windows service TidemarkAgent: keeps the agent's Node.js process running and reads for it what Node.js cannot.
// It is compiled on the node by the compiler of the .NET Framework, so nothing here is newer than C# 5.
using System;
using System.Diagnostics;
using System.IO;
using System.ServiceProcess;
using System.Threading;

namespace Tidemark.Agent
{
    public static class Program
    {
        public const string ServiceName = "TidemarkAgent";

        // Without arguments: as a service. --check: can this program run here at all? --console: until standard input closes.
        public static int Main(string[] arguments)
        {
            if (arguments.Length == 0)
            {
                ServiceBase.Run(new AgentService(Installation.OfThisProgram()));
                return 0;
            }
            if (arguments[0] == "--check")
            {
                Console.Out.WriteLine("ok");
                return 0;
            }
            if (arguments[0] == "--ask" && arguments.Length == 2)
            {
                Console.Out.WriteLine(new Facts(SystemReadings.Create()).Answer(arguments[1]));
                return 0;
            }
            if (arguments[0] == "--console" && (arguments.Length == 1 || arguments.Length == 3))
                return RunInConsole(arguments.Length == 1 ? Installation.OfThisProgram() : new Installation(arguments[1], arguments[2]));
            Console.Error.WriteLine("usage: TidemarkAgentHost [--check | --ask QUESTION | --console [PROGRAM-DIRECTORY DATA-DIRECTORY]]");
            return 2;
        }

        private static int RunInConsole(Installation installation)
        {
            using (Host host = new Host(installation, new KeeperTimes()))
            {
                host.Start();
                while (Console.In.Read() != -1) { }
                host.Stop();
            }
            return 0;
        }
    }

    // What Windows' service control manager talks to. RUNNING is reported as soon as OnStart returns, which waits for nothing.
    public class AgentService : ServiceBase
    {
        // More than the child's time to end by itself, with room for the log and the pipe.
        private const int StopMilliseconds = 12000;
        private readonly Host host;

        public AgentService(Installation installation) : this(installation, new KeeperTimes()) { }

        public AgentService(Installation installation, KeeperTimes times)
        {
            ServiceName = Program.ServiceName;
            CanStop = true;
            CanShutdown = true;
            AutoLog = false;
            host = new Host(installation, times);
        }

        protected override void OnStart(string[] arguments)
        {
            host.Start();
        }

        protected override void OnStop()
        {
            // Outside of a service (a test) there is nobody to ask for more time.
            try { RequestAdditionalTime(StopMilliseconds); } catch (InvalidOperationException) { } catch (NotImplementedException) { }
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

    // The parts that live as long as the service: log, pipe, child.
    public sealed class Host : IDisposable
    {
        private readonly RotatedLog log;
        private readonly Journal journal;
        private readonly HostPipe pipe;
        private readonly ChildKeeper keeper;
        private bool stopped;

        public Host(Installation installation, KeeperTimes times)
        {
            log = new RotatedLog(installation.LogFile, RotatedLog.SizeMaximum, RotatedLog.FilesMaximum);
            journal = new Journal(log);
            pipe = new HostPipe(new Facts(SystemReadings.Create()), journal);
            keeper = new ChildKeeper(delegate { return installation.StartOfChild(pipe.Name); }, times, log, journal);
        }

        public void Start()
        {
            journal.Note("the service starts");
            pipe.Start();
            keeper.Start();
        }

        public void Stop()
        {
            if (stopped) return;
            stopped = true;
            keeper.Stop();
            pipe.Stop();
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
            ToEventLog(sentence, EventLogEntryType.Warning);
        }

        public void Error(string sentence)
        {
            log.WriteLine("host", sentence);
            ToEventLog(sentence, EventLogEntryType.Error);
        }

        // The installer makes the source. A full event log, or none, must not end the service.
        private static void ToEventLog(string sentence, EventLogEntryType type)
        {
            try { EventLog.WriteEntry(Program.ServiceName, sentence, type, 1); }
            catch (Exception) { }
        }
    }
}
