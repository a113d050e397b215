// A job of Windows that ends its processes when this program ends, however it ends: no agent is left behind by a host that was killed.
using System;
using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Tidemark.Agent
{
    public class Job : IDisposable
    {
        // A job that does nothing, for systems that have none.
        protected Job() { }

        public static Job Create(Journal journal)
        {
            return Installation.IsWindows ? new WindowsJob(journal) : new Job();
        }

        public virtual void Add(Process child) { }

        public virtual void Dispose() { }
    }

    internal sealed class WindowsJob : Job
    {
        private const int ExtendedLimitInformation = 9;
        private const uint KillOnJobClose = 0x2000;
        private readonly Journal journal;
        private IntPtr handle;

        public WindowsJob(Journal journal)
        {
            this.journal = journal;
            handle = CreateJobObjectW(IntPtr.Zero, IntPtr.Zero);
            ExtendedLimits limits = new ExtendedLimits();
            limits.Basic.LimitFlags = KillOnJobClose;
            int size = Marshal.SizeOf(typeof(ExtendedLimits));
            if (handle == IntPtr.Zero || !SetInformationJobObject(handle, ExtendedLimitInformation, ref limits, (uint)size))
                journal.Warn("Windows gave no job object (" + new Win32Exception().Message + "): should this service be killed, the agent goes on alone until the next start.");
        }

        public override void Add(Process child)
        {
            if (handle == IntPtr.Zero || AssignProcessToJobObject(handle, child.Handle)) return;
            string reason = new Win32Exception().Message;
            if (!child.HasExited) journal.Warn("The agent's process could not be put into the job object (" + reason + ").");
        }

        public override void Dispose()
        {
            if (handle != IntPtr.Zero) CloseHandle(handle);
            handle = IntPtr.Zero;
        }

        [StructLayout(LayoutKind.Sequential)]
        private struct BasicLimits
        {
            public long PerProcessUserTime;
            public long PerJobUserTime;
            public uint LimitFlags;
            public UIntPtr MinimumWorkingSet;
            public UIntPtr MaximumWorkingSet;
            public uint ActiveProcesses;
            public UIntPtr Affinity;
            public uint PriorityClass;
            public uint SchedulingClass;
        }

        [StructLayout(LayoutKind.Sequential)]
        private struct ExtendedLimits
        {
            public BasicLimits Basic;
            public ulong ReadOperations, WriteOperations, OtherOperations, ReadBytes, WriteBytes, OtherBytes;
            public UIntPtr ProcessMemory, JobMemory, PeakProcessMemory, PeakJobMemory;
        }

        [DllImport("kernel32.dll", SetLastError = true, CharSet = CharSet.Unicode, ExactSpelling = true)]
        private static extern IntPtr CreateJobObjectW(IntPtr attributes, IntPtr name);

        [DllImport("kernel32.dll", SetLastError = true, ExactSpelling = true)]
        [return: MarshalAs(UnmanagedType.Bool)]
        private static extern bool SetInformationJobObject(IntPtr job, int kind, ref ExtendedLimits limits, uint size);

        [DllImport("kernel32.dll", SetLastError = true, ExactSpelling = true)]
        [return: MarshalAs(UnmanagedType.Bool)]
        private static extern bool AssignProcessToJobObject(IntPtr job, IntPtr process);

        [DllImport("kernel32.dll", SetLastError = true, ExactSpelling = true)]
        [return: MarshalAs(UnmanagedType.Bool)]
        private static extern bool CloseHandle(IntPtr handle);
    }
}
