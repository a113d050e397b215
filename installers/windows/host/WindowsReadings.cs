// What Windows tells of itself by its own functions and the registry. No WMI, and no performance counters: the one hangs and leaks, the
// other is broken on many a machine and named in its language. Every call here returns at once.
using System;
using System.Collections.Generic;
using System.ComponentModel;
using System.Diagnostics;
using System.IO;
using System.Net.NetworkInformation;
using System.Runtime.InteropServices;
using System.ServiceProcess;
using Microsoft.Win32;

namespace Tidemark.Agent
{
    internal static class NetworkReadings
    {
        private const int InterfacesMaximum = 200;

        // Counters of 64 bits of each interface that can carry something to another machine.
        public static void Write(JsonLine json)
        {
            json.Open("interfaces", '[');
            int written = 0;
            foreach (NetworkInterface one in NetworkInterface.GetAllNetworkInterfaces())
            {
                if (one.NetworkInterfaceType == NetworkInterfaceType.Loopback || one.NetworkInterfaceType == NetworkInterfaceType.Tunnel) continue;
                if (written++ == InterfacesMaximum) break;
                WriteOne(json, one);
            }
            json.Close(']');
        }

        private static void WriteOne(JsonLine json, NetworkInterface one)
        {
            IPInterfaceStatistics figures;
            try { figures = one.GetIPStatistics(); }
            // It went while we looked.
            catch (NetworkInformationException) { return; }
            json.Open('{');
            json.Add("name", one.Name);
            json.Add("up", one.OperationalStatus == OperationalStatus.Up);
            json.Add("speedBits", one.Speed);
            json.Add("receiveBytes", figures.BytesReceived);
            json.Add("receivePackets", figures.UnicastPacketsReceived + figures.NonUnicastPacketsReceived);
            json.Add("receiveErrors", figures.IncomingPacketsWithErrors);
            json.Add("receiveDrops", figures.IncomingPacketsDiscarded);
            json.Add("transmitBytes", figures.BytesSent);
            json.Add("transmitPackets", figures.UnicastPacketsSent + figures.NonUnicastPacketsSent);
            json.Add("transmitErrors", figures.OutgoingPacketsWithErrors);
            json.Add("transmitDrops", figures.OutgoingPacketsDiscarded);
            json.Close('}');
        }
    }

    internal sealed class WindowsReadings : SystemReadings
    {
        private readonly DiskReadings disks = new DiskReadings();
        private readonly ServiceReadings services = new ServiceReadings();

        public override void Network(JsonLine json)
        {
            NetworkReadings.Write(json);
        }

        public override void Disks(JsonLine json)
        {
            disks.Write(json);
        }

        public override void Services(JsonLine json)
        {
            services.Write(json);
        }

        public override void Memory(JsonLine json)
        {
            PerformanceInformation info = new PerformanceInformation();
            info.Size = (uint)Marshal.SizeOf(typeof(PerformanceInformation));
            if (!GetPerformanceInfo(ref info, info.Size)) throw new Win32Exception();
            long page = (long)info.PageSize;
            json.Add("committedBytes", (long)info.CommitTotal * page);
            json.Add("commitLimitBytes", (long)info.CommitLimit * page);
            json.Add("availableBytes", (long)info.PhysicalAvailable * page);
            json.Add("cacheBytes", (long)info.SystemCache * page);
            json.Add("pagedPoolBytes", (long)info.KernelPaged * page);
            json.Add("nonpagedPoolBytes", (long)info.KernelNonpaged * page);
            json.Add("handles", (long)info.HandleCount);
            json.Add("processes", (long)info.ProcessCount);
            json.Add("threads", (long)info.ThreadCount);
        }

        // A drive's type comes from the letter alone; only fixed drives are asked anything, since others can hang.
        public override void Drives(JsonLine json)
        {
            json.Open("drives", '[');
            foreach (DriveInfo drive in DriveInfo.GetDrives())
            {
                DriveType type = drive.DriveType;
                json.Open('{');
                json.Add("name", drive.Name.TrimEnd('\\'));
                json.Add("type", type.ToString().ToLowerInvariant());
                json.Add("format", type == DriveType.Fixed ? FormatOf(drive) : null);
                json.Close('}');
            }
            json.Close(']');
        }

        private static string FormatOf(DriveInfo drive)
        {
            // Locked by BitLocker, or not formatted.
            try { return drive.DriveFormat; }
            catch (IOException) { return null; }
            catch (UnauthorizedAccessException) { return null; }
        }

        public override void Machine(JsonLine json)
        {
            using (RegistryKey version = Registry.LocalMachine.OpenSubKey("SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion"))
            using (RegistryKey bios = Registry.LocalMachine.OpenSubKey("HARDWARE\\DESCRIPTION\\System\\BIOS"))
            using (RegistryKey cpu = Registry.LocalMachine.OpenSubKey("HARDWARE\\DESCRIPTION\\System\\CentralProcessor\\0"))
            {
                json.Add("product", TextOf(version, "ProductName"));
                json.Add("displayVersion", TextOf(version, "DisplayVersion") ?? TextOf(version, "ReleaseId"));
                json.Add("build", TextOf(version, "CurrentBuild"));
                json.Add("installationType", TextOf(version, "InstallationType"));
                json.Add("vendor", TextOf(bios, "SystemManufacturer"));
                json.Add("model", TextOf(bios, "SystemProductName"));
                json.Add("cpu", TextOf(cpu, "ProcessorNameString"));
            }
        }

        private static string TextOf(RegistryKey key, string name)
        {
            string text = key == null ? null : key.GetValue(name) as string;
            return string.IsNullOrEmpty(text) || text.Trim().Length == 0 ? null : text.Trim();
        }

        [StructLayout(LayoutKind.Sequential)]
        private struct PerformanceInformation
        {
            public uint Size;
            public UIntPtr CommitTotal, CommitLimit, CommitPeak, PhysicalTotal, PhysicalAvailable, SystemCache, KernelTotal, KernelPaged, KernelNonpaged, PageSize;
            public uint HandleCount, ProcessCount, ThreadCount;
        }

        [DllImport("psapi.dll", SetLastError = true, ExactSpelling = true)]
        [return: MarshalAs(UnmanagedType.Bool)]
        private static extern bool GetPerformanceInfo(ref PerformanceInformation information, uint size);
    }

    // Services that start by themselves, and every PostgreSQL server, with the state they are in.
    internal sealed class ServiceReadings
    {
        private const int ServicesMaximum = 1000;
        // Configuration changes seldom, and is a registry key a service.
        private const int ReadAgainMilliseconds = 300000;
        private readonly Dictionary<string, Start> starts = new Dictionary<string, Start>(StringComparer.OrdinalIgnoreCase);
        private readonly Stopwatch age = new Stopwatch();

        public void Write(JsonLine json)
        {
            if (!age.IsRunning || age.ElapsedMilliseconds > ReadAgainMilliseconds)
            {
                starts.Clear();
                age.Restart();
            }
            json.Open("services", '[');
            int written = 0;
            foreach (ServiceController one in ServiceController.GetServices())
            {
                using (one)
                {
                    string name = one.ServiceName;
                    Start start;
                    if (!starts.TryGetValue(name, out start)) starts[name] = start = StartOf(name);
                    bool wanted = start.Automatic || name.StartsWith("postgresql", StringComparison.OrdinalIgnoreCase);
                    if (!wanted || start.OfUser || written++ >= ServicesMaximum) continue;
                    json.Open('{');
                    json.Add("name", name);
                    json.Add("displayName", one.DisplayName);
                    json.Add("state", StateOf(one.Status));
                    json.Add("automatic", start.Automatic);
                    json.Add("disabled", start.Disabled);
                    json.Add("delayed", start.Delayed);
                    json.Add("triggered", start.Triggered);
                    json.Close('}');
                }
            }
            json.Close(']');
        }

        private struct Start
        {
            public bool Automatic, Disabled, Delayed, Triggered, OfUser;
        }

        private static Start StartOf(string name)
        {
            Start start = new Start();
            using (RegistryKey key = Registry.LocalMachine.OpenSubKey("SYSTEM\\CurrentControlSet\\Services\\" + name))
            {
                if (key == null) return start;
                start.Automatic = NumberOf(key, "Start") == 2;
                start.Disabled = NumberOf(key, "Start") == 4;
                start.Delayed = NumberOf(key, "DelayedAutostart") == 1;
                // Of each signed-in user (Type 0x40 and 0x80): they come and go with him.
                start.OfUser = (NumberOf(key, "Type") & 0xC0) != 0;
                foreach (string child in key.GetSubKeyNames())
                    if (child.Equals("TriggerInfo", StringComparison.OrdinalIgnoreCase)) start.Triggered = true;
            }
            return start;
        }

        private static int NumberOf(RegistryKey key, string name)
        {
            object value = key.GetValue(name);
            return value is int ? (int)value : 0;
        }

        // In windows_exporter's words.
        private static string StateOf(ServiceControllerStatus status)
        {
            switch (status)
            {
                case ServiceControllerStatus.Running: return "running";
                case ServiceControllerStatus.Stopped: return "stopped";
                case ServiceControllerStatus.StartPending: return "start pending";
                case ServiceControllerStatus.StopPending: return "stop pending";
                case ServiceControllerStatus.Paused: return "paused";
                case ServiceControllerStatus.PausePending: return "pause pending";
                case ServiceControllerStatus.ContinuePending: return "continue pending";
                default: return "unknown";
            }
        }
    }

    // Each disk's counters, by the control code that the performance counters themselves are made from. Needs no right to read the disk.
    internal sealed class DiskReadings
    {
        private const int DisksMaximum = 64;
        private const int LookAgainMilliseconds = 300000;
        private const uint DiskPerformanceCode = 0x70020;
        private readonly Dictionary<int, Busy> known = new Dictionary<int, Busy>();
        private readonly Stopwatch clock = Stopwatch.StartNew();
        private long lookedAt = -LookAgainMilliseconds;

        public void Write(JsonLine json)
        {
            bool look = clock.ElapsedMilliseconds - lookedAt >= LookAgainMilliseconds;
            if (look) lookedAt = clock.ElapsedMilliseconds;
            json.Open("disks", '[');
            for (int number = 0; number < DisksMaximum; number++)
            {
                DiskPerformance figures;
                if (!look && !known.ContainsKey(number)) continue;
                if (Read(number, out figures)) WriteOne(json, number, figures);
                else known.Remove(number);
            }
            json.Close(']');
        }

        private void WriteOne(JsonLine json, int number, DiskPerformance figures)
        {
            Busy busy;
            long now = clock.ElapsedTicks;
            if (!known.TryGetValue(number, out busy)) known[number] = busy = new Busy(figures.IdleTime, now);
            json.Open('{');
            json.Add("name", "PhysicalDrive" + number);
            json.Add("reads", figures.ReadCount);
            json.Add("readBytes", figures.BytesRead);
            json.Add("readTicks", figures.ReadTime);
            json.Add("writes", figures.WriteCount);
            json.Add("writtenBytes", figures.BytesWritten);
            json.Add("writeTicks", figures.WriteTime);
            json.Add("busyTicks", busy.Note(figures.IdleTime, now));
            json.Add("queue", figures.QueueDepth);
            json.Close('}');
        }

        // Windows counts when a disk was idle. The time between is taken from a clock that nobody sets.
        private sealed class Busy
        {
            private long idle;
            private long at;
            private long sum;

            public Busy(long idle, long at)
            {
                this.idle = idle;
                this.at = at;
            }

            // Ticks of 100 ns.
            public long Note(long idleNow, long now)
            {
                long passed = (long)((now - at) * (1e7 / Stopwatch.Frequency));
                sum += Math.Max(0, Math.Min(passed, passed - (idleNow - idle)));
                idle = idleNow;
                at = now;
                return sum;
            }
        }

        private static bool Read(int number, out DiskPerformance figures)
        {
            figures = new DiskPerformance();
            // Access 0: neither to read nor to write, which everybody may.
            IntPtr disk = CreateFileW("\\\\.\\PhysicalDrive" + number, 0, 3, IntPtr.Zero, 3, 0, IntPtr.Zero);
            if (disk == new IntPtr(-1)) return false;
            try
            {
                uint returned;
                uint size = (uint)Marshal.SizeOf(typeof(DiskPerformance));
                return DeviceIoControl(disk, DiskPerformanceCode, IntPtr.Zero, 0, ref figures, size, out returned, IntPtr.Zero);
            }
            finally { CloseHandle(disk); }
        }

        [StructLayout(LayoutKind.Sequential, CharSet = CharSet.Unicode)]
        private struct DiskPerformance
        {
            public long BytesRead, BytesWritten, ReadTime, WriteTime, IdleTime;
            public uint ReadCount, WriteCount, QueueDepth, SplitCount;
            public long QueryTime;
            public uint StorageDeviceNumber;
            [MarshalAs(UnmanagedType.ByValTStr, SizeConst = 8)]
            public string StorageManagerName;
        }

        [DllImport("kernel32.dll", SetLastError = true, CharSet = CharSet.Unicode, ExactSpelling = true)]
        private static extern IntPtr CreateFileW(string name, uint access, uint share, IntPtr security, uint disposition, uint flags, IntPtr template);

        [DllImport("kernel32.dll", SetLastError = true, ExactSpelling = true)]
        [return: MarshalAs(UnmanagedType.Bool)]
        private static extern bool DeviceIoControl(IntPtr device, uint code, IntPtr input, uint inputSize, ref DiskPerformance output, uint outputSize, out uint returned, IntPtr overlapped);

        [DllImport("kernel32.dll", SetLastError = true, ExactSpelling = true)]
        [return: MarshalAs(UnmanagedType.Bool)]
        private static extern bool CloseHandle(IntPtr handle);
    }
}
