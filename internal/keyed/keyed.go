// Package keyed has a mutex for each key, made when somebody wants it and gone when nobody does.
//
// Mutex is all of it. It is not for locks between processes.
package keyed

import (
	"context"
	"sync"
)

// Mutex is a set of locks. The zero value is ready.
type Mutex struct {
	mu   sync.Mutex
	held map[string]*keyLock
}

type keyLock struct {
	token chan struct{} // holds one value while nobody has the lock
	users int
}

// Lock waits for the key's lock or the context's end.
func (k *Mutex) Lock(ctx context.Context, key string) (unlock func(), err error) {
	l := k.join(key)
	select {
	case <-l.token:
		return k.unlocker(key, l), nil
	case <-ctx.Done():
		k.leave(key, l)
		return nil, ctx.Err()
	}
}

// TryLock takes the key's lock if nobody has it.
func (k *Mutex) TryLock(key string) (unlock func(), ok bool) {
	l := k.join(key)
	select {
	case <-l.token:
		return k.unlocker(key, l), true
	default:
		k.leave(key, l)
		return nil, false
	}
}

func (k *Mutex) unlocker(key string, l *keyLock) func() {
	return func() { l.token <- struct{}{}; k.leave(key, l) }
}

func (k *Mutex) join(key string) *keyLock {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.held[key]
	if l == nil {
		if k.held == nil {
			k.held = map[string]*keyLock{}
		}
		l = &keyLock{token: make(chan struct{}, 1)}
		l.token <- struct{}{}
		k.held[key] = l
	}
	l.users++
	return l
}

func (k *Mutex) leave(key string, l *keyLock) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(k.held, key)
	}
}
