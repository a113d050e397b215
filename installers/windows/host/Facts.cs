// The answers to the agent's questions, as one line of JSON each. A question that cannot be answered gets its reason, never zeros.
using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;

namespace Tidemark.Agent
{
    // What is read of the system. A test plays it.
    public abstract class SystemReadings
    {
        public static SystemReadings Create()
        {
            return Installation.IsWindows ? (SystemReadings)new WindowsReadings() : new ForeignReadings();
        }

        public abstract void Network(JsonLine json);
        public abstract void Disks(JsonLine json);
        public abstract void Services(JsonLine json);
        public abstract void Memory(JsonLine json);
        public abstract void Drives(JsonLine json);
        public abstract void Machine(JsonLine json);
    }

    public sealed class Facts
    {
        private readonly SystemReadings readings;

        public Facts(SystemReadings readings)
        {
            this.readings = readings;
        }

        public string Answer(string question)
        {
            try
            {
                JsonLine json = new JsonLine();
                json.Open('{');
                switch (question)
                {
                    case "network": readings.Network(json); break;
                    case "disks": readings.Disks(json); break;
                    case "services": readings.Services(json); break;
                    case "memory": readings.Memory(json); break;
                    case "drives": readings.Drives(json); break;
                    case "machine": readings.Machine(json); break;
                    default: return Trouble("there is no question \"" + question + "\": the service's program is older than the agent; run the installer again");
                }
                json.Close('}');
                return json.ToString();
            }
            catch (Exception error)
            {
                return Trouble(error.Message);
            }
        }

        private static string Trouble(string sentence)
        {
            JsonLine json = new JsonLine();
            json.Open('{');
            json.Add("error", sentence);
            json.Close('}');
            return json.ToString();
        }
    }

    // Builds one line of JSON; commas are its own business.
    public sealed class JsonLine
    {
        private readonly StringBuilder text = new StringBuilder();
        private bool first = true;

        public void Open(char bracket)
        {
            Comma();
            text.Append(bracket);
            first = true;
        }

        public void Open(string name, char bracket)
        {
            Comma();
            AppendString(name);
            text.Append(':').Append(bracket);
            first = true;
        }

        public void Close(char bracket)
        {
            text.Append(bracket);
            first = false;
        }

        public void Add(string name, string value)
        {
            Comma();
            AppendString(name);
            text.Append(':');
            if (value == null) text.Append("null");
            else AppendString(value);
        }

        public void Add(string name, long value)
        {
            Comma();
            AppendString(name);
            text.Append(':').Append(value.ToString(CultureInfo.InvariantCulture));
        }

        public void Add(string name, bool value)
        {
            Comma();
            AppendString(name);
            text.Append(value ? ":true" : ":false");
        }

        public override string ToString()
        {
            return text.ToString();
        }

        private void Comma()
        {
            if (!first) text.Append(',');
            first = false;
        }

        // Everything outside of ASCII is escaped, lone surrogates with it: the line is the same in every encoding.
        private void AppendString(string value)
        {
            text.Append('"');
            foreach (char c in value)
            {
                if (c == '"' || c == '\\') text.Append('\\').Append(c);
                else if (c >= ' ' && c < (char)127) text.Append(c);
                else text.Append("\\u").Append(((int)c).ToString("x4", CultureInfo.InvariantCulture));
            }
            text.Append('"');
        }
    }

    // Not Windows: a developer's machine. Says so.
    internal sealed class ForeignReadings : SystemReadings
    {
        private static Exception None()
        {
            return new NotSupportedException("only Windows has this");
        }

        public override void Network(JsonLine json)
        {
            NetworkReadings.Write(json);
        }

        public override void Disks(JsonLine json) { throw None(); }
        public override void Services(JsonLine json) { throw None(); }
        public override void Memory(JsonLine json) { throw None(); }
        public override void Drives(JsonLine json) { throw None(); }
        public override void Machine(JsonLine json) { throw None(); }
    }
}
