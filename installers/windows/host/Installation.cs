// Where things are on a node, and how the agent's process is started from them. The file `current` names the version, and is read at
// every start: an upgrade writes a new directory and then that file, so no file in use is ever replaced.
using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Text;
using System.Text.RegularExpressions;

namespace Tidemark.Agent
{
    public sealed class Installation
    {
        private static readonly Regex Plain = new Regex("^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$");
        private static readonly Regex Flag = new Regex("^--[a-z0-9-]+(=[A-Za-z0-9._-]+)?$");
        private readonly string programs;
        private readonly string data;

        // programs: %ProgramFiles%\Tidemark\Agent; data: %ProgramData%\Tidemark.
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

        public string LogFile
        {
            get { return Path.Combine(Path.Combine(data, "logs"), "agent.log"); }
        }

        // Throws IOException with a sentence when the installation is not whole.
        public ProcessStartInfo StartOfChild(string pipeName)
        {
            string version = WordOf(Path.Combine(programs, "current"));
            string directory = Path.Combine(Path.Combine(programs, "versions"), version);
            string runtime = WordOf(Path.Combine(directory, "NODE"));
            string node = Path.Combine(Path.Combine(Path.Combine(programs, "runtimes"), runtime), IsWindows ? "node.exe" : "node");
            string script = Path.Combine(directory, "tidemark-agent.cjs");
            foreach (string file in new string[] { node, script })
                if (!File.Exists(file)) throw new IOException(file + " is missing: run the installer again");

            StringBuilder line = new StringBuilder();
            foreach (string flag in FlagsOf(Path.Combine(directory, "flags"))) line.Append(flag).Append(' ');
            line.Append(Quote(script)).Append(" run --config ").Append(Quote(Path.Combine(data, "agent.yaml")));
            line.Append(" --data-dir ").Append(Quote(Path.Combine(data, "agent")));
            string token = Path.Combine(data, "agent.token");
            if (File.Exists(token)) line.Append(" --token-file ").Append(Quote(token));

            ProcessStartInfo start = new ProcessStartInfo(node, line.ToString());
            start.UseShellExecute = false;
            start.CreateNoWindow = true;
            start.WindowStyle = ProcessWindowStyle.Hidden;
            start.WorkingDirectory = directory;
            start.RedirectStandardInput = true;
            start.RedirectStandardOutput = true;
            start.RedirectStandardError = true;
            SetEnvironment(start, pipeName);
            return start;
        }

        // Only what Windows' own functions need. NODE_OPTIONS and the like of the machine would change what the agent is.
        private static void SetEnvironment(ProcessStartInfo start, string pipeName)
        {
            string[] kept =
            {
                "SystemRoot", "SystemDrive", "windir", "ProgramData", "ProgramFiles", "ProgramW6432", "COMPUTERNAME", "TEMP", "TMP",
                "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE", "OS", "PATHEXT", "ComSpec", "USERPROFILE", "TZ"
            };
            List<KeyValuePair<string, string>> variables = new List<KeyValuePair<string, string>>();
            foreach (string name in kept)
            {
                string value = Environment.GetEnvironmentVariable(name);
                if (!string.IsNullOrEmpty(value)) variables.Add(new KeyValuePair<string, string>(name, value));
            }
            start.EnvironmentVariables.Clear();
            foreach (KeyValuePair<string, string> variable in variables) start.EnvironmentVariables[variable.Key] = variable.Value;
            string root = Environment.GetEnvironmentVariable("SystemRoot");
            if (!string.IsNullOrEmpty(root))
                start.EnvironmentVariables["Path"] = root + "\\System32;" + root + ";" + root + "\\System32\\WindowsPowerShell\\v1.0";
            start.EnvironmentVariables["TIDEMARK_HOST_PIPE"] = pipeName;
        }

        private static string WordOf(string file)
        {
            string word = File.ReadAllText(file).Trim();
            if (!Plain.IsMatch(word)) throw new IOException(file + " does not name a version: run the installer again");
            return word;
        }

        private static List<string> FlagsOf(string file)
        {
            List<string> flags = new List<string>();
            if (!File.Exists(file)) return flags;
            foreach (string line in File.ReadAllLines(file))
            {
                string flag = line.Trim();
                if (flag.Length == 0) continue;
                if (!Flag.IsMatch(flag)) throw new IOException(file + " holds what is no flag: run the installer again");
                flags.Add(flag);
            }
            return flags;
        }

        // By the rules of CommandLineToArgvW. A path holds no quotation mark; a backslash before the last one is doubled.
        public static string Quote(string path)
        {
            int trailing = 0;
            while (trailing < path.Length && path[path.Length - 1 - trailing] == '\\') trailing++;
            return '"' + path + new string('\\', trailing) + '"';
        }

        public static bool IsWindows
        {
            get { return Environment.OSVersion.Platform == PlatformID.Win32NT; }
        }
    }
}
