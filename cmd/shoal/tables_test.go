package main

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shoal-dev/shoal/proto/api"
)

// populate fills a fake with one or more of everything.
func populate(f *fake) {
	f.control.nodes = []*api.Node{
		{Id: "node1", Role: api.NodeRole_MANAGER, Spec: &api.NodeSpec{Role: api.NodeRole_MANAGER, Labels: map[string]string{"rack": "a"}},
			Description:   &api.NodeDescription{Hostname: "one", EngineVersion: "1.0", Platform: &api.Platform{Os: "linux", Architecture: "amd64"}, Resources: &api.Resources{NanoCpus: 2e9, MemoryBytes: 4 << 30}},
			Status:        &api.NodeStatus{State: api.NodeStatus_READY, Addr: "10.0.0.1"},
			ManagerStatus: &api.ManagerStatus{Addr: "10.0.0.1:2377", Leader: true, Reachable: true}},
		{Id: "node2", Spec: &api.NodeSpec{Availability: api.NodeSpec_DRAIN},
			Description: &api.NodeDescription{Hostname: "two", EngineVersion: "1.0"},
			Status:      &api.NodeStatus{State: api.NodeStatus_DOWN, Addr: "10.0.0.2"}},
	}
	web := &api.Service{
		Id: "service1aaaaaaaaaaaaaaaaaa", Meta: &api.Meta{Version: 7}, Revision: 2,
		Spec: &api.ServiceSpec{
			Name: "web", Labels: map[string]string{"tier": "front"},
			Container: &api.ContainerSpec{Image: "web:1", Env: []string{"A=1"}, Mounts: []*api.Mount{{Type: api.Mount_BIND, Source: "/src", Target: "/data", ReadOnly: true}}, Limits: &api.ContainerLimits{NanoCpus: 5e8, MemoryBytes: 512 << 20}},
			Mode:      &api.ServiceMode{Replicas: 3}, Networks: []*api.NetworkAttachmentSpec{{Network: "overlay1"}},
			Placement: &api.Placement{Constraints: []string{"node.role==worker"}, MaxReplicasPerNode: 2},
			Update:    &api.UpdateConfig{Parallelism: 2, Delay: durationpb.New(5 * time.Second), Order: api.UpdateConfig_START_FIRST},
			Endpoint:  &api.EndpointSpec{Ports: []*api.PortConfig{{TargetPort: 80, PublishedPort: 8080}}},
		},
		Endpoint: &api.Endpoint{
			Ports:      []*api.PortConfig{{Protocol: "tcp", TargetPort: 80, PublishedPort: 8080}},
			VirtualIps: []*api.VirtualIP{{NetworkId: "overlay1", Addresses: []string{"10.96.0.2", "fd00::2"}}},
		},
	}
	agent := &api.Service{Id: "service2aaaaaaaaaaaaaaaaaa", Meta: &api.Meta{}, Spec: &api.ServiceSpec{Name: "agent", Mode: &api.ServiceMode{Global: true}, Container: &api.ContainerSpec{Image: "agent"}}}
	f.control.services = []*api.Service{web, agent}
	task := func(id, node string, slot uint64, state, desired api.TaskState, age time.Duration, problem string) *api.TaskInfo {
		return &api.TaskInfo{NodeHostname: node, Image: "web:1@sha256:aa", Task: &api.Task{
			Id: id, ServiceId: web.Id, ServiceName: "web", Slot: slot, NodeId: "id-" + node, Revision: 2, DesiredState: desired,
			Meta:   &api.Meta{CreatedAt: at(age)},
			Status: &api.TaskStatus{State: state, Timestamp: at(age), Err: problem},
		}}
	}
	f.control.tasks = []*api.TaskInfo{
		task("task1old", "two", 1, api.TaskState_FAILED, api.TaskState_SHUTDOWN, 2*time.Hour, "exit code 1"),
		task("task1", "one", 1, api.TaskState_RUNNING, api.TaskState_RUNNING, 5*time.Minute, ""),
		task("task2", "two", 2, api.TaskState_RUNNING, api.TaskState_RUNNING, 5*time.Minute, ""),
		task("task3", "", 3, api.TaskState_PENDING, api.TaskState_RUNNING, 5*time.Minute, "no suitable node (insufficient memory on 2 nodes)"),
	}
	f.control.tasks[3].Task.NodeId = ""
	f.control.networks = []*api.Network{{Id: "overlay1", Spec: &api.NetworkSpec{Name: "app", Driver: "overlay", Ipv6: true}, Ipam: []*api.IPAMConfig{{Subnet: "10.96.0.0/22", Gateway: "10.96.0.1"}}, Vni: 4097}}
	f.containers.networks = []*api.LocalNetwork{
		{Id: strings.Repeat("1", 64), Name: "bridge", Driver: "bridge"}, {Id: strings.Repeat("2", 64), Name: "host", Driver: "host"},
		{Id: strings.Repeat("3", 64), Name: "mine", Driver: "bridge", Labels: map[string]string{"a": "b"}},
	}
	f.containers.volumes = []*api.Volume{{Name: "data", Driver: "local", Mountpoint: "/v/data"}, {Name: "cache", Driver: "local"}}
	f.containers.containers = []*api.Container{
		{Id: strings.Repeat("a", 64), Name: "web", ImageName: "web:1", ImageId: "sha256:1", Command: []string{"/bin/server", "--port", "8080"},
			CreatedAt: at(3 * time.Hour), StartedAt: at(2 * time.Hour), State: api.ContainerState_CONTAINER_RUNNING, Health: "healthy", Pid: 42,
			Ports:        []*api.PortBinding{{Protocol: "tcp", ContainerPort: 80, HostPort: 8080}, {Protocol: "udp", ContainerPort: 53, HostIp: "127.0.0.1", HostPort: 53}},
			ExposedPorts: []string{"53/udp", "80/tcp", "443/tcp", "9000/tcp", "9001/tcp"}, PublishAll: true, PortBindings: []*api.PortBinding{{ContainerPort: 80, HostPort: 8080}, {ContainerPort: 53, Protocol: "udp", HostIp: "127.0.0.1"}},
			Spec:      &api.ContainerSpec{Image: "web:1", Labels: map[string]string{"com.example": "x"}},
			Endpoints: []*api.NetworkEndpoint{{Network: "bridge", Addresses: []string{"172.17.0.2/16", "fd01::2/64"}, Gateways: []string{"172.17.0.1"}, Mac: "02:42:ac:11:00:02"}},
			Mounts:    []*api.MountPoint{{Type: "volume", Name: "data", Destination: "/data"}}},
		{Id: strings.Repeat("b", 64), Name: "old", ImageName: "busybox", Command: []string{"false"}, CreatedAt: at(26 * time.Hour),
			FinishedAt: at(25 * time.Hour), State: api.ContainerState_EXITED, ExitCode: 1, Spec: &api.ContainerSpec{}},
	}
	f.images.images = []*api.Image{
		{Id: "sha256:" + strings.Repeat("1", 64), Tags: []string{"web:1", "registry:5000/web:2"}, Platform: &api.Platform{Os: "linux", Architecture: "amd64"}, Digests: []string{"web@sha256:dd"}, CreatedAt: at(2 * time.Hour), Size: 12345678, Config: []byte(`{"config":{"Cmd":["/server"],"Labels":{"k":"v"}}}`)},
		{Id: "sha256:" + strings.Repeat("2", 64), CreatedAt: at(50 * time.Hour), Size: 1000},
	}
}

// TestTables runs list verbs and compares their output with golden files.
func TestTables(t *testing.T) {
	for name, args := range map[string]string{
		"service_ls":           "service ls",
		"service_ls_quiet":     "service ls -q",
		"service_ls_filter":    "service ls --filter mode=global",
		"service_ls_label":     "service ls --filter label=tier=front --format {{.Name}}:{{.Label_\"tier\"}}",
		"service_ls_json":      "service ls --format json",
		"service_ls_table":     "service ls --format table_{{.Name}}\\t{{.Replicas}}",
		"service_ps":           "service ps web",
		"service_ps_no_trunc":  "service ps --no-trunc web",
		"service_ps_quiet":     "service ps -q --filter desired-state=running web",
		"service_inspect":      "service inspect web",
		"service_inspect_tmpl": "service inspect -f {{.Spec.Name}}_{{.Spec.Mode.Replicated.Replicas}}_{{.Spec.TaskTemplate.ContainerSpec.Hostname}} web",
		"service_pretty":       "service inspect --pretty web",
		"node_ls":              "node ls",
		"node_ls_format":       "node ls --format {{.Hostname}}_{{.Status}}_{{.Self}}",
		"node_ls_filter":       "node ls --filter role=worker -q",
		"node_ps":              "node ps one",
		"node_inspect":         "node inspect self",
		"node_pretty":          "node inspect --pretty self",
		"network_ls":           "network ls",
		"network_ls_driver":    "network ls --filter driver=overlay",
		"network_inspect":      "network inspect app mine",
		"volume_ls":            "volume ls",
		"volume_ls_json":       "volume ls --format {{json_.}}",
		"volume_ls_dangling":   "volume ls -q --filter dangling=true",
		"volume_inspect":       "volume inspect data",
		"images":               "images",
		"images_digests":       "images --digests --no-trunc",
		"images_dangling":      "images -q --filter dangling=true",
		"images_reference":     "images web",
		"image_inspect":        "image inspect -f {{json_.Config}} web:1",
		"ps":                   "ps",
		"ps_all":               "ps -a",
		"ps_filter":            "ps -a --filter status=exited --filter exited=1 --format {{.Names}}",
		"ps_last":              "ps -n 1 -q --no-trunc",
		"ps_latest_last":       "ps -l -n 2 -q",
		"ps_label":             "ps --filter label=com.example --format {{.Label_\"com.example\"}}",
		"inspect_container":    "inspect -f {{.State.Status}}_{{.NetworkSettings.IPAddress}}_{{range_$k,$v:=.NetworkSettings.Networks}}{{$k}}={{$v.Gateway}}{{end}}_{{.Name}} web",
		"stats":                "stats --no-stream",
		"info":                 "info",
		"info_format":          "info -f {{.Cluster.NodeID}}_{{.ServerVersion}}",
		"cluster_info":         "cluster info",
		"token":                "cluster token worker",
		"token_quiet":          "cluster token -q manager",
		"token_rotate":         "cluster token --rotate worker",
		"init":                 "cluster init --advertise-addr 10.0.0.1",
		"join":                 "cluster join --token T 10.0.0.1",
		"logs_timestamps":      "logs -t web",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			populate(f)
			fields := strings.Fields(args)
			for i := range fields {
				if strings.Contains(fields[i], "{{") {
					fields[i] = strings.ReplaceAll(fields[i], "_", " ")
				}
			}
			r := f.run(t, "", fields...)
			if r.code != 0 || r.err != "" && name != "logs_timestamps" {
				t.Fatalf("exit code %d, stderr %q", r.code, r.err)
			}
			out := strings.ReplaceAll(r.out, buildVersion(), "VERSION")
			golden(t, name, out)
		})
	}
}
