// The local pipe by which the agent asks for what only this host can read. One question a line, one line of JSON for an answer, both
// bounded. Nobody else has a way in: the pipe's name is new with every start, and only its own account and administrators may open it.
using System;
using System.IO;
using System.IO.Pipes;
using System.Security.AccessControl;
using System.Security.Principal;
using System.Text;
using System.Threading;

namespace Tidemark.Agent
{
    // Answers a question with one line without its end.
    public delegate string Answerer(string question);

    public static class LineProtocol
    {
        public const int QuestionMaximum = 64;
        public const int AnswerMaximum = 512 * 1024;

        // Until the other side has gone, or says what is no question. Throws IOException when the connection breaks.
        public static void Serve(Stream stream, Answerer answer)
        {
            byte[] one = new byte[1];
            StringBuilder question = new StringBuilder();
            while (stream.Read(one, 0, 1) == 1)
            {
                char c = (char)one[0];
                if (c == '\n')
                {
                    byte[] line = Encoding.UTF8.GetBytes(answer(question.ToString()) + "\n");
                    if (line.Length > AnswerMaximum) line = Encoding.UTF8.GetBytes("{\"error\":\"the answer is too long\"}\n");
                    stream.Write(line, 0, line.Length);
                    stream.Flush();
                    question.Length = 0;
                }
                else if (c < 'a' || c > 'z' || question.Length == QuestionMaximum) return;
                else question.Append(c);
            }
        }
    }

    public sealed class HostPipe
    {
        private readonly string name = "tidemark-agent-" + Guid.NewGuid().ToString("N");
        private readonly Facts facts;
        private readonly Journal journal;
        private readonly object turn = new object();
        private NamedPipeServerStream current;
        private bool stopping;

        public HostPipe(Facts facts, Journal journal)
        {
            this.facts = facts;
            this.journal = journal;
        }

        // As Node.js wants it.
        public string Name
        {
            get { return Installation.IsWindows ? "\\\\.\\pipe\\" + name : ""; }
        }

        public void Start()
        {
            if (!Installation.IsWindows) return;
            Thread thread = new Thread(Run);
            thread.IsBackground = true;
            thread.Name = "pipe";
            thread.Start();
        }

        public void Stop()
        {
            lock (turn)
            {
                stopping = true;
                if (current != null) current.Dispose();
            }
        }

        private void Run()
        {
            bool said = false;
            while (true)
            {
                try
                {
                    using (NamedPipeServerStream pipe = Open())
                    {
                        lock (turn)
                        {
                            if (stopping) return;
                            current = pipe;
                        }
                        // Waiting without the asynchronous form could not be ended.
                        pipe.EndWaitForConnection(pipe.BeginWaitForConnection(null, null));
                        said = false;
                        LineProtocol.Serve(pipe, facts.Answer);
                    }
                }
                catch (Exception error)
                {
                    lock (turn) if (stopping) return;
                    // The agent ended while it was answered: that is told elsewhere. Anything else is said once.
                    if (!(error is IOException) && !said) journal.Warn("The pipe to the agent failed: " + error.Message);
                    said = said || !(error is IOException);
                    Thread.Sleep(1000);
                }
            }
        }

        private NamedPipeServerStream Open()
        {
            PipeSecurity security = new PipeSecurity();
            SecurityIdentifier network = new SecurityIdentifier(WellKnownSidType.NetworkSid, null);
            SecurityIdentifier administrators = new SecurityIdentifier(WellKnownSidType.BuiltinAdministratorsSid, null);
            using (WindowsIdentity own = WindowsIdentity.GetCurrent())
                security.AddAccessRule(new PipeAccessRule(own.User, PipeAccessRights.FullControl, AccessControlType.Allow));
            security.AddAccessRule(new PipeAccessRule(administrators, PipeAccessRights.ReadWrite, AccessControlType.Allow));
            security.AddAccessRule(new PipeAccessRule(network, PipeAccessRights.FullControl, AccessControlType.Deny));
            // One instance at a time also means that a pipe of this name which is there already is not taken for ours.
            return new NamedPipeServerStream(name, PipeDirection.InOut, 1, PipeTransmissionMode.Byte, PipeOptions.Asynchronous, 4096, 65536, security);
        }
    }
}
