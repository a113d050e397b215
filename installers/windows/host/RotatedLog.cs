// A log file of bounded size: full, it becomes agent.log.1, and so on; the oldest is removed. A disk that is full, or a file that
// somebody holds, costs lines and never the service.
using System;
using System.IO;
using System.Text;

namespace Tidemark.Agent
{
    public sealed class RotatedLog : IDisposable
    {
        public const long SizeMaximum = 5 * 1024 * 1024;
        public const int FilesMaximum = 3;
        private readonly object turn = new object();
        private readonly string path;
        private readonly long sizeMaximum;
        private readonly int filesMaximum;
        private FileStream file;
        private bool endsWithLine = true;

        public RotatedLog(string path, long sizeMaximum, int filesMaximum)
        {
            this.path = path;
            this.sizeMaximum = sizeMaximum;
            this.filesMaximum = filesMaximum;
        }

        public string Path
        {
            get { return path; }
        }

        public void WriteLine(string who, string sentence)
        {
            string time = DateTime.UtcNow.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", System.Globalization.CultureInfo.InvariantCulture);
            lock (turn)
            {
                byte[] line = Encoding.UTF8.GetBytes((endsWithLine ? "" : "\n") + time + " " + who + ": " + sentence + "\n");
                Write(line, line.Length);
            }
        }

        public void Write(byte[] bytes, int count)
        {
            if (count == 0) return;
            lock (turn)
            {
                try
                {
                    if (file == null) Open();
                    if (file.Length + count > sizeMaximum && file.Length > 0) Rotate();
                    file.Write(bytes, 0, count);
                    file.Flush();
                    endsWithLine = bytes[count - 1] == (byte)'\n';
                }
                catch (IOException) { Close(); }
                catch (UnauthorizedAccessException) { Close(); }
            }
        }

        private void Open()
        {
            Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path));
            // Others may read it, and move it away.
            file = new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete);
        }

        private void Rotate()
        {
            Close();
            for (int i = filesMaximum - 1; i >= 1; i--)
            {
                string from = i == 1 ? path : path + "." + (i - 1);
                string to = path + "." + i;
                if (!File.Exists(from)) continue;
                if (File.Exists(to)) File.Delete(to);
                File.Move(from, to);
            }
            Open();
        }

        private void Close()
        {
            if (file == null) return;
            try { file.Dispose(); } catch (IOException) { }
            file = null;
        }

        public void Dispose()
        {
            lock (turn) Close();
        }
    }
}
