"""The configuration of an SGE cluster for tests, as pure text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SLOTS_PER_NODE = 4
MEMORY_PER_NODE_MB = 8000
SHORT_QUEUE_MAX_S = 120
PARALLEL_ENVIRONMENT = "smp"
# Additional groups that a node gives to jobs, one each.
GIDS_PER_NODE = 100

# What the Debian packages bring along.
RESOURCES = Path("/usr/share/gridengine/util/resources")
BINARIES = Path("/usr/lib/gridengine")


@dataclass(frozen=True)
class SgeSettings:
    """What differs between the clusters that tests ask for."""

    accounting: bool = True
    """Whether qacct finds anything: the file it reads is written."""
    notify_s: int = 10
    """Between SIGUSR2 and SIGKILL for jobs submitted with -notify. Sites have 60."""
    max_unheard_s: int = 10
    """After how long a silent node is unknown; its jobs that may be rerun are then put back. Sites have 300."""
    max_array_tasks: int = 1000
    """Array tasks of one array. Sites have 75000."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Lines of the global configuration, by key, in place of what is written here or beside it."""


def lines_of(values: Mapping[str, str]) -> str:
    """Return SGE's form of a configuration: a key and its value on a line."""
    return "".join(f"{key} {value}\n" for key, value in values.items())


def bootstrap(root: Path) -> str:
    """Return the file that the daemons and clients read first."""
    return lines_of(
        {
            "admin_user": "none",  # everything runs as who started it: root
            "default_domain": "none",
            "ignore_fqdn": "false",
            "spooling_method": "classic",
            "spooling_lib": "libspoolc",
            "spooling_params": f"{root}/default/common;{root}/qmaster",
            "binary_path": str(BINARIES),
            "qmaster_spool_dir": f"{root}/qmaster",
            "security_mode": "none",
            "listener_threads": "2",
            "worker_threads": "2",
            "scheduler_threads": "1",
        }
    )


def global_configuration(settings: SgeSettings, root: Path) -> str:
    """Return the global configuration (sge_conf(5)).

    Root's jobs are allowed. A node reports every second, and jobs of a node that is silent are put back 2 s after
    that was noticed: quick where sites are slow.
    """
    values = {
        "execd_spool_dir": f"{root}/spool",
        "mailer": "/bin/true",
        "xterm": "/usr/bin/xterm",
        "load_sensor": "none",
        "prolog": "none",
        "epilog": "none",
        "shell_start_mode": "posix_compliant",
        # Not bash, which is on this list at sites: a login shell would read the profile of this machine's root.
        "login_shells": "csh,tcsh",
        "min_uid": "0",
        "min_gid": "0",
        "user_lists": "none",
        "xuser_lists": "none",
        "projects": "none",
        "xprojects": "none",
        "enforce_project": "false",
        "enforce_user": "auto",
        "load_report_time": "00:00:01",
        "max_unheard": _clock(settings.max_unheard_s),
        "reschedule_unknown": "00:00:02",
        "loglevel": "log_info",
        "administrator_mail": "none",
        "set_token_cmd": "none",
        "pag_cmd": "none",
        "token_extend_time": "none",
        "shepherd_cmd": "none",
        "qmaster_params": "none",
        "execd_params": "none",
        "reporting_params": (
            f"accounting={'true' if settings.accounting else 'false'} reporting=false flush_time=00:00:01 joblog=false "
            "sharelog=00:00:00"
        ),
        "finished_jobs": "100",
        "gid_range": "65000-65099",  # nodes have their own: local_configuration
        "qlogin_command": "builtin",
        "qlogin_daemon": "builtin",
        "rlogin_command": "builtin",
        "rlogin_daemon": "builtin",
        "rsh_command": "builtin",
        "rsh_daemon": "builtin",
        "max_aj_instances": "2000",
        "max_aj_tasks": str(settings.max_array_tasks),
        "max_u_jobs": "0",
        "max_jobs": "0",
        "auto_user_oticket": "0",
        "auto_user_fshare": "0",
        "auto_user_default_project": "none",
        "auto_user_delete_time": "86400",
        "delegated_file_staging": "false",
        "reprioritize": "0",
        "jsv_url": "none",
        "jsv_allowed_mod": "ac,h,i,e,o,j,M,N,p,w",
        **settings.overrides,
    }
    return lines_of(values)


def local_configuration(first_gid: int) -> str:
    """Return what differs for one node.

    SGE knows a job's processes by an additional group of their own, and signals them by it (but for root's). Nodes of
    one machine, of whatever cluster, must therefore not give out the same groups.
    """
    return lines_of({"gid_range": f"{first_gid}-{first_gid + GIDS_PER_NODE - 1}"})


def scheduler_configuration() -> str:
    """Return the scheduler's configuration (sched_conf(5)): it looks every second and at once when a job comes."""
    return lines_of(
        {
            "algorithm": "default",
            "schedule_interval": "0:0:1",
            "maxujobs": "0",
            "queue_sort_method": "load",
            "job_load_adjustments": "NONE",
            "load_adjustment_decay_time": "0:0:0",
            "load_formula": "slots",
            "schedd_job_info": "true",
            "flush_submit_sec": "1",
            "flush_finish_sec": "1",
            "params": "none",
            "reprioritize_interval": "0:0:0",
            "halftime": "168",
            "usage_weight_list": "cpu=1.000000,mem=0.000000,io=0.000000",
            "compensation_factor": "5.000000",
            "weight_user": "0.250000",
            "weight_project": "0.250000",
            "weight_department": "0.250000",
            "weight_job": "0.250000",
            "weight_tickets_functional": "0",
            "weight_tickets_share": "0",
            "share_override_tickets": "TRUE",
            "share_functional_shares": "TRUE",
            "max_functional_jobs_to_schedule": "200",
            "report_pjob_tickets": "TRUE",
            "max_pending_tasks_per_job": "50",
            "halflife_decay_list": "none",
            "policy_hierarchy": "OFS",
            "weight_ticket": "0.500000",
            "weight_waiting_time": "0.278000",
            "weight_deadline": "3600000.000000",
            "weight_urgency": "0.500000",
            "weight_priority": "0.000000",
            "max_reservation": "0",
            "default_duration": "INFINITY",
        }
    )


def consumable_memory() -> str:
    """Return the resource h_vmem as most sites have it: a limit that is also counted."""
    return lines_of(
        {
            "name": "h_vmem",
            "shortcut": "h_vmem",
            "type": "MEMORY",
            "relop": "<=",
            "requestable": "YES",
            "consumable": "YES",
            # Without one, a job that asks for none is killed as soon as it has any (seen).
            "default": "1G",
            "urgency": "0",
        }
    )


def parallel_environment(name: str, rule: str) -> str:
    """Return a parallel environment; the rule ``$pe_slots`` gives all slots on one node."""
    return lines_of(
        {
            "pe_name": name,
            "slots": "999",
            "user_lists": "NONE",
            "xuser_lists": "NONE",
            "start_proc_args": "NONE",
            "stop_proc_args": "NONE",
            "allocation_rule": rule,
            "control_slaves": "FALSE",
            "job_is_first_task": "TRUE",
            "urgency_slots": "min",
            "accounting_summary": "TRUE",
            "qsort_args": "NONE",
        }
    )


def execution_host(name: str) -> str:
    """Return a node, with the memory that h_vmem may take of it."""
    return lines_of(
        {
            "hostname": name,
            "load_scaling": "NONE",
            "complex_values": f"h_vmem={MEMORY_PER_NODE_MB}M,slots={SLOTS_PER_NODE}",
            "user_lists": "NONE",
            "xuser_lists": "NONE",
            "projects": "NONE",
            "xprojects": "NONE",
            "usage_scaling": "NONE",
            "report_variables": "NONE",
        }
    )


def host_group(name: str, hosts: Iterable[str]) -> str:
    """Return a group of nodes."""
    return lines_of({"group_name": name, "hostlist": " ".join(hosts)})


def queue(name: str, group: str, settings: SgeSettings, *, max_s: int = 0) -> str:
    """Return a queue with 4 slots a node.

    Args:
        max_s: the time limit, 0 for none.
    """
    limit = _clock(max_s) if max_s else "INFINITY"
    return lines_of(
        {
            "qname": name,
            "hostlist": group,
            "seq_no": "0",
            "load_thresholds": "NONE",
            "suspend_thresholds": "NONE",
            "nsuspend": "1",
            "suspend_interval": "00:05:00",
            "priority": "0",
            "min_cpu_interval": "00:00:01",
            "processors": "UNDEFINED",
            "qtype": "BATCH INTERACTIVE",
            "ckpt_list": "NONE",
            "pe_list": f"{PARALLEL_ENVIRONMENT} make",
            "rerun": "FALSE",
            "slots": str(SLOTS_PER_NODE),
            "tmpdir": "/tmp",
            "shell": "/bin/sh",
            "prolog": "NONE",
            "epilog": "NONE",
            "shell_start_mode": "posix_compliant",
            "starter_method": "NONE",
            "suspend_method": "NONE",
            "resume_method": "NONE",
            "terminate_method": "NONE",
            "notify": _clock(settings.notify_s),
            "owner_list": "NONE",
            "user_lists": "NONE",
            "xuser_lists": "NONE",
            "subordinate_list": "NONE",
            "complex_values": "NONE",
            "projects": "NONE",
            "xprojects": "NONE",
            "calendar": "NONE",
            "initial_state": "default",
            "s_rt": "INFINITY",
            "h_rt": limit,
            "s_cpu": "INFINITY",
            "h_cpu": "INFINITY",
            "s_fsize": "INFINITY",
            "h_fsize": "INFINITY",
            "s_data": "INFINITY",
            "h_data": "INFINITY",
            "s_stack": "INFINITY",
            "h_stack": "INFINITY",
            "s_core": "INFINITY",
            "h_core": "INFINITY",
            "s_rss": "INFINITY",
            "h_rss": "INFINITY",
            "s_vmem": "INFINITY",
            "h_vmem": "INFINITY",
        }
    )


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
