// Keeps one child process running: starts it, writes what it says into the log, starts it again after it ends with growing pauses, and
// ends it when told, first by closing its standard input, then by force. At no time are there two, and none is left behind.
using System;
using System.Diagnostics;
using System.IO;
using System.Threading;

namespace Tidemark.Agent
{
    public delegate ProcessStartInfo StartOfChild();

    // Milliseconds.
    public sealed class KeeperTimes
    {
        public int FirstPause = 1000;
        public int LongestPause = 60000;
        // A child that ran for so long was well: the next pause is the first again.
        public int Steady = 60000;
        // From "please" to "at once". Windows' own patience at a shutdown is 20 s, and a stop has to be over within 10.
        public int Grace = 7000;
    }

    public sealed class ChildKeeper
    {
        private readonly StartOfChild startOfChild;
        private readonly KeeperTimes times;
        private readonly RotatedLog log;
        private readonly Journal journal;
        private readonly ManualResetEvent stopping = new ManualResetEvent(false);
        private readonly Job job;
        private Thread thread;
        private string lastTrouble;

        public ChildKeeper(StartOfChild startOfChild, KeeperTimes times, RotatedLog log, Journal journal)
        {
            this.startOfChild = startOfChild;
            this.times = times;
            this.log = log;
            this.journal = journal;
            job = Job.Create(journal);
        }

        public void Start()
        {
            thread = new Thread(Run);
            thread.IsBackground = true;
            thread.Name = "keeper";
            thread.Start();
        }

        // Returns when the child is gone: after the grace and little more at the latest.
        public void Stop()
        {
            stopping.Set();
            if (thread != null) thread.Join(times.Grace + 2500);
            job.Dispose();
        }

        private void Run()
        {
            int pause = times.FirstPause;
            while (!stopping.WaitOne(0))
            {
                Stopwatch ran = Stopwatch.StartNew();
                string end = RunOnce();
                if (stopping.WaitOne(0)) return;
                if (ran.ElapsedMilliseconds >= times.Steady) pause = times.FirstPause;
                string sentence = "The agent " + end + ". It is started again in " + (pause / 1000.0).ToString("0.#", System.Globalization.CultureInfo.InvariantCulture) + " s.";
                // The event log hears of a trouble once, not of each attempt; the log file of every one.
                if (end == lastTrouble) journal.Note(sentence);
                else journal.Warn(sentence + " What it said: " + log.Path);
                lastTrouble = end;
                if (stopping.WaitOne(pause)) return;
                pause = Math.Min(pause * 2, times.LongestPause);
            }
        }

        // How it ended, as the end of a sentence that begins with "The agent".
        private string RunOnce()
        {
            Process child;
            try
            {
                child = Process.Start(startOfChild());
            }
            catch (Exception error)
            {
                return "could not be started (" + error.Message + ")";
            }
            using (child)
            {
                job.Add(child);
                journal.Note("started process " + child.Id);
                Thread output = Copy(child.StandardOutput.BaseStream);
                Thread errors = Copy(child.StandardError.BaseStream);
                using (ManualResetEvent exited = new ManualResetEvent(false))
                {
                    Thread waiter = new Thread(delegate ()
                    {
                        child.WaitForExit();
                        exited.Set();
                    });
                    waiter.IsBackground = true;
                    waiter.Start();
                    if (WaitHandle.WaitAny(new WaitHandle[] { exited, stopping }) == 1) End(child, exited);
                    exited.WaitOne();
                    waiter.Join();
                }
                // A grandchild may hold the pipes open after the child is gone.
                output.Join(1000);
                errors.Join(1000);
                return "ended with code " + child.ExitCode;
            }
        }

        private void End(Process child, ManualResetEvent exited)
        {
            try { child.StandardInput.Close(); } catch (IOException) { } catch (ObjectDisposedException) { }
            if (exited.WaitOne(times.Grace)) return;
            journal.Warn("The agent did not end within " + times.Grace / 1000.0 + " s and was ended by force.");
            try { child.Kill(); } catch (InvalidOperationException) { } catch (System.ComponentModel.Win32Exception) { }
        }

        private Thread Copy(Stream from)
        {
            Thread copier = new Thread(delegate ()
            {
                byte[] buffer = new byte[8192];
                try
                {
                    for (int n = from.Read(buffer, 0, buffer.Length); n > 0; n = from.Read(buffer, 0, buffer.Length)) log.Write(buffer, n);
                }
                catch (IOException) { }
                catch (ObjectDisposedException) { }
            });
            copier.IsBackground = true;
            copier.Start();
            return copier;
        }
    }
}
