// Drives the Windows service host in tests, as Windows' service control manager would: it calls OnStart and OnStop of the real service
// class, and says how long each took. As "serve" it is the host's end of the pipe over standard input and output, with played readings.
using System;
using System.Diagnostics;
using System.Reflection;
using Tidemark.Agent;

public static class HostDriver
{
    public static int Main(string[] arguments)
    {
        if (arguments[0] == "serve")
        {
            LineProtocol.Serve(new StandardStreams(), new Facts(new PlayedReadings()).Answer);
            return 0;
        }
        if (arguments[0] == "quote")
        {
            for (int i = 1; i < arguments.Length; i++) Console.Out.WriteLine(Installation.Quote(arguments[i]));
            return 0;
        }
        if (arguments[0] == "layout")
        {
            Type type = typeof(Installation).Assembly.GetType(arguments[1], true);
            Console.Out.WriteLine(System.Runtime.InteropServices.Marshal.SizeOf(type));
            for (int i = 2; i < arguments.Length; i++) Console.Out.WriteLine(System.Runtime.InteropServices.Marshal.OffsetOf(type, arguments[i]));
            return 0;
        }
        KeeperTimes times = new KeeperTimes();
        times.FirstPause = int.Parse(arguments[3]);
        times.LongestPause = int.Parse(arguments[4]);
        times.Steady = int.Parse(arguments[5]);
        times.Grace = int.Parse(arguments[6]);
        AgentService service = new AgentService(new Installation(arguments[1], arguments[2]), times);
        Call(service, "OnStart", new object[] { new string[0] });
        Console.In.ReadLine();
        Call(service, "OnStop", new object[0]);
        service.Dispose();
        return 0;
    }

    private static void Call(AgentService service, string name, object[] with)
    {
        MethodInfo method = typeof(AgentService).GetMethod(name, BindingFlags.Instance | BindingFlags.NonPublic);
        Stopwatch took = Stopwatch.StartNew();
        method.Invoke(service, with);
        Console.Out.WriteLine(name + " " + took.ElapsedMilliseconds);
        Console.Out.Flush();
    }
}

// Reads standard input and writes standard output.
internal sealed class StandardStreams : System.IO.Stream
{
    private readonly System.IO.Stream input = Console.OpenStandardInput();
    private readonly System.IO.Stream output = Console.OpenStandardOutput();
    public override bool CanRead { get { return true; } }
    public override bool CanWrite { get { return true; } }
    public override bool CanSeek { get { return false; } }
    public override long Length { get { throw new NotSupportedException(); } }
    public override long Position { get { throw new NotSupportedException(); } set { throw new NotSupportedException(); } }
    public override void Flush() { output.Flush(); }
    public override int Read(byte[] buffer, int offset, int count) { return input.Read(buffer, offset, count); }
    public override void Write(byte[] buffer, int offset, int count) { output.Write(buffer, offset, count); }
    public override long Seek(long offset, System.IO.SeekOrigin origin) { throw new NotSupportedException(); }
    public override void SetLength(long value) { throw new NotSupportedException(); }
}

internal sealed class PlayedReadings : SystemReadings
{
    public override void Network(JsonLine json)
    {
        json.Open("interfaces", '[');
        json.Open('{');
        // As Windows names it in Czech, with what a JSON string cannot hold as it is.
        json.Add("name", "P\u0159ipojen\u00ed \"1\"\\\t\ud83d\ude00");
        json.Add("up", true);
        json.Add("speedBits", 1000000000L);
        json.Add("receiveBytes", 9007199254740991L);
        json.Close('}');
        json.Open('{');
        json.Add("name", "Ethernet 2");
        json.Add("up", false);
        json.Add("speedBits", -1L);
        json.Close('}');
        json.Close(']');
    }

    public override void Disks(JsonLine json)
    {
        json.Open("disks", '[');
        json.Close(']');
    }

    public override void Services(JsonLine json)
    {
        throw new System.ComponentModel.Win32Exception(5, "Access is \"denied\"");
    }

    public override void Memory(JsonLine json)
    {
        json.Add("processes", 42);
    }

    // More than an answer may be.
    public override void Drives(JsonLine json)
    {
        json.Add("name", new string('x', LineProtocol.AnswerMaximum));
    }

    public override void Machine(JsonLine json)
    {
        json.Add("product", (string)null);
    }
}
