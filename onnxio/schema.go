package onnxio

// msgType is a message type of the format, as far as scanning needs to know it.
type msgType uint8

const (
	opaque msgType = iota // bytes, a string or packed numbers: not looked into
	modelMsg
	opsetMsg
	entryMsg
	graphMsg
	nodeMsg
	attrMsg
	valueInfoMsg
	tensorMsg
	heldTensorMsg // a tensor whose bytes stay in the message: see schema
	segmentMsg
	sparseMsg
	shapeMsg
	dimMsg
	typeMsg
	tensorTypeMsg
	sequenceTypeMsg
	mapTypeMsg
	opaqueTypeMsg
	functionMsg
	trainingMsg
	annotationMsg
	deviceConfigMsg
	nodeDeviceMsg
	shardingMsg
	intListMsg
	shardedDimMsg
	simpleShardMsg
	heldGraphMsg
	heldNodeMsg
	heldAttrMsg
	msgTypes
)

// rawDataField is TensorProto.raw_data.
const rawDataField = 9

// schema gives, for each message type, its fields that are messages themselves. Everything else is skipped by its wire type
// alone, exactly as the generated decoder will do with fields it does not know.
//
// The held types are those below sparse tensors and training information, which Model does not show: their tensors are decoded
// whole, so that no message that is merely kept ever refers to a cut in another buffer.
var schema = [msgTypes]map[int32]msgType{
	modelMsg: {8: opsetMsg, 7: graphMsg, 14: entryMsg, 20: trainingMsg, 25: functionMsg, 26: deviceConfigMsg},
	graphMsg: {1: nodeMsg, 5: tensorMsg, 15: sparseMsg, 11: valueInfoMsg, 12: valueInfoMsg, 13: valueInfoMsg,
		14: annotationMsg, 16: entryMsg},
	nodeMsg: {5: attrMsg, 9: entryMsg, 10: nodeDeviceMsg},
	attrMsg: {5: tensorMsg, 6: graphMsg, 10: tensorMsg, 11: graphMsg, 14: typeMsg, 15: typeMsg, 22: sparseMsg, 23: sparseMsg},

	heldGraphMsg: {1: heldNodeMsg, 5: heldTensorMsg, 15: sparseMsg, 11: valueInfoMsg, 12: valueInfoMsg, 13: valueInfoMsg,
		14: annotationMsg, 16: entryMsg},
	heldNodeMsg: {5: heldAttrMsg, 9: entryMsg, 10: nodeDeviceMsg},
	heldAttrMsg: {5: heldTensorMsg, 6: heldGraphMsg, 10: heldTensorMsg, 11: heldGraphMsg, 14: typeMsg, 15: typeMsg,
		22: sparseMsg, 23: sparseMsg},

	valueInfoMsg:    {2: typeMsg, 4: entryMsg},
	tensorMsg:       {3: segmentMsg, 13: entryMsg, 16: entryMsg},
	heldTensorMsg:   {3: segmentMsg, 13: entryMsg, 16: entryMsg},
	sparseMsg:       {1: heldTensorMsg, 2: heldTensorMsg},
	shapeMsg:        {1: dimMsg},
	typeMsg:         {1: tensorTypeMsg, 4: sequenceTypeMsg, 5: mapTypeMsg, 7: opaqueTypeMsg, 8: tensorTypeMsg, 9: sequenceTypeMsg},
	tensorTypeMsg:   {2: shapeMsg},
	sequenceTypeMsg: {1: typeMsg},
	mapTypeMsg:      {2: typeMsg},
	functionMsg:     {11: attrMsg, 7: nodeMsg, 9: opsetMsg, 12: valueInfoMsg, 14: entryMsg},
	trainingMsg:     {1: heldGraphMsg, 2: heldGraphMsg, 3: entryMsg, 4: entryMsg},
	annotationMsg:   {2: entryMsg},
	nodeDeviceMsg:   {2: shardingMsg},
	shardingMsg:     {3: intListMsg, 4: shardedDimMsg},
	shardedDimMsg:   {2: simpleShardMsg},
}

// varintField says whether a length-delimited field holds packed varints, which decoding makes up to eight times larger.
func varintField(t msgType, field int32) bool {
	switch t {
	case tensorMsg, heldTensorMsg:
		return field == 1 || field == 5 || field == 7 || field == 11
	case attrMsg, heldAttrMsg:
		return field == 8
	case sparseMsg:
		return field == 3
	case shardingMsg, intListMsg:
		return field == 2
	}
	return false
}
