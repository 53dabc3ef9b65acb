// Command lua runs a script of Argo CD over an object, as Argo CD does: with the object in the global obj, with only the libraries
// that a script in argocd-cm has, and for at most a second.
//
//	lua SCRIPT < OBJECT
//
// It reads the object as YAML or JSON, and prints what the script returns as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/util/yaml"
	luajson "layeh.com/gopher-json"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: lua SCRIPT < OBJECT")
	}
	object := map[string]any{}
	if err := yaml.NewYAMLOrJSONDecoder(os.Stdin, 4096).Decode(&object); err != nil {
		log.Fatalf("not an object: %v", err)
	}
	answer, err := run(os.Args[1], object)
	if err != nil {
		log.Fatalf("%s: %v", os.Args[1], err)
	}
	fmt.Println(string(answer))
}

func run(script string, object map[string]any) ([]byte, error) {
	state, err := restricted()
	if err != nil {
		return nil, err
	}
	defer state.Close()
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limit)
	// By JSON, so that numbers are what Lua knows.
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	value, err := luajson.Decode(state, text)
	if err != nil {
		return nil, err
	}
	state.SetGlobal("obj", value)
	if err := state.DoFile(script); err != nil {
		return nil, err
	}
	returned := state.Get(-1)
	if returned.Type() != lua.LTTable {
		return nil, fmt.Errorf("it returns %s, not a table", returned.Type())
	}
	return luajson.Encode(returned)
}

// restricted is what util/lua of Argo CD gives a script: the base, table and package libraries, and of os only the clock.
func restricted() (*lua.LState, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	libraries := []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}, {lua.OsLibName, lua.OpenOs}}
	for _, library := range libraries {
		call := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return nil, err
		}
	}
	whole, clock := state.GetGlobal(lua.OsLibName), state.NewTable()
	for _, name := range []string{"date", "time"} {
		clock.RawSetString(name, state.GetField(whole, name))
	}
	state.SetGlobal(lua.OsLibName, clock)
	return state, nil
}
