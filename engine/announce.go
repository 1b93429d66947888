//go:build linux

package engine

import (
	"maps"
	"time"

	"github.com/shoal-dev/shoal/proto/api"
)

// Kinds of objects that events are about.
const (
	aboutContainer = "container"
	aboutImage     = "image"
	aboutVolume    = "volume"
	aboutNetwork   = "network"
)

// announce tells what happened to something.
func (e *Engine) announce(about, action, id string, attributes map[string]string) {
	e.journal.add(&api.Event{Type: about, Action: action, Id: id, Attributes: attributes})
}

// announceContainer adds what is known of the container: its labels, image and name.
func (e *Engine) announceContainer(row *api.Container, action string, attributes map[string]string) {
	all := maps.Clone(row.Spec.GetLabels())
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, attributes)
	all["image"], all["name"] = row.ImageName, row.Name
	e.announce(aboutContainer, action, row.Id, all)
}

// announceImage is what the image store tells its changes to.
func (e *Engine) announceImage(action, id, name string) {
	attributes := map[string]string{}
	if name != "" {
		attributes["name"] = name
	}
	e.announce(aboutImage, action, id, attributes)
}

// announceNetworks tells that a container is on its networks, or not any more.
func (e *Engine) announceNetworks(row *api.Container, action string) {
	for _, ep := range row.Endpoints {
		if n, err := e.cfg.Networks.Get(ep.NetworkId); err == nil {
			e.announceNetwork(row, n, action)
		}
	}
}

func (e *Engine) announceNetwork(row *api.Container, n *api.LocalNetwork, action string) {
	e.announce(aboutNetwork, action, n.Id, map[string]string{"container": row.Id, "name": n.Name, "type": n.Driver})
}

// announceVolumes tells that a container has its volumes mounted, or not any more.
func (e *Engine) announceVolumes(row *api.Container, action string) {
	for _, p := range row.Mounts {
		if p.Type != "volume" {
			continue
		}
		attributes := map[string]string{"container": row.Id, "driver": p.Driver}
		if action == "mount" {
			attributes["destination"] = p.Destination
		}
		e.announce(aboutVolume, action, p.Name, attributes)
	}
}

// publish hands an event to those who look at containers' rows; it is not in the journal.
func (e *Engine) publish(row *api.Container, action string, attributes map[string]string) {
	e.events.publish(Event{Time: time.Now(), Action: action, Container: row, Attributes: attributes})
}

// emit is publish, and the journal has it too, as Docker's clients know it.
func (e *Engine) emit(c *container, action string, attributes map[string]string) {
	row := c.get()
	e.publish(row, action, attributes)
	switch action {
	case "health_status":
		action, attributes = action+": "+attributes["health"], nil
	case "exec_create":
		action, attributes = action+": "+attributes["command"], nil
	}
	e.announceContainer(row, action, attributes)
}
