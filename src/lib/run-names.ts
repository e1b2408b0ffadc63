/** Names for runs that nobody named: `adjective-animal-N`. */

const ADJECTIVES =
  "able amber ancient autumn bitter blue bold brave breezy bright brisk broad bronze calm clever cold cool coral crisp curly damp dark deep dry dusty eager early fair fancy fast fierce fine firm fond fresh gentle giant glad golden grand gray green happy hardy hasty hidden honest humble icy jolly keen kind large late lazy light little lively long loud loyal lucky mellow merry mighty mild misty modest muddy neat nimble noble odd old orange pale patient plain polite proud purple quick quiet rapid rare ready red rough round royal rustic sandy sharp shiny short shy silent silver sleepy slow small smart smooth snowy soft solid spare spring steady stern stout strong summer sunny sweet swift tall tame tender thin tidy tiny tough tranquil upbeat vast vivid warm wet white wide wild wise witty young zesty".split(
    " ",
  );

const ANIMALS =
  "alpaca ant antelope badger bat bear beaver bee beetle bird bison boar bobcat buffalo bunny camel carp cat catfish cheetah chipmunk clam cobra cod condor cougar cow coyote crab crane cricket crow cuckoo deer dingo dodo dog dolphin donkey dove dragonfly duck eagle eel elephant elk emu falcon ferret finch firefly fish flamingo fox frog gazelle gecko gibbon giraffe goat goose gopher grouse gull hamster hare hawk hedgehog heron hippo horse hound hyena ibex iguana impala jackal jaguar jay kangaroo kiwi koala lark lemur leopard lion lizard llama lobster lynx magpie mallard marmot marten mole monkey moose mouse mule newt octopus orca oryx osprey ostrich otter owl ox oyster panda panther parrot pelican penguin pheasant pig pigeon pike pony puffin puma quail rabbit raccoon ram raven robin rooster salmon seal shark sheep shrew shrimp skunk sloth snail snake sparrow spider squid squirrel starfish stork swan tapir tern tiger toad toucan trout tuna turkey turtle viper vole walrus wasp weasel whale wolf wombat woodpecker yak zebra".split(
    " ",
  );

/** The two words of a name; `random` gives numbers from 0 up to 1. */
export function generateRunNameStem(random: () => number): string {
  return `${pick(ADJECTIVES, random)}-${pick(ANIMALS, random)}`;
}

function pick(words: readonly string[], random: () => number): string {
  return words[Math.floor(random() * words.length)] as string;
}
